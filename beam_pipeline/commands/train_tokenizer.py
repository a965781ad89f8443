"""Train a byte-level BPE tokenizer on a deterministic sample of your text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from rich.console import Console

from beam_pipeline import failures, preflight
from beam_pipeline.options import add_flags, resolve_part
from beam_pipeline.planned_sources import sources_of
from beam_pipeline.settings import NormalizationSettings
from beam_pipeline.training import in_sample, train_tokenizer
from schemas.shards import Shard, document_id
from transforms.io import storage
from transforms.io.readers import ReadOptions, UnreadableSource, read, split
from transforms.kernels.text.normalization import Normalization, normalize

DONE_WITH_UNREADABLE_SOURCES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="URI",
        help="files, folders, globs, prefixes of s3:// or others",
    )
    parser.add_argument(
        "--output", default="tokenizer.json", metavar="FILE", help="where the tokenizer goes (default: %(default)s)"
    )
    parser.add_argument("--vocab_size", type=int, required=True, metavar="N", help="number of token ids")
    parser.add_argument(
        "--special_token",
        nargs="+",
        default=["<|endoftext|>"],
        metavar="TOKEN",
        help="special tokens (default: <|endoftext|>)",
    )
    parser.add_argument(
        "--fraction",
        type=float,
        default=1.0,
        metavar="F",
        help="share of the documents to train on (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another seed, another sample (default: %(default)s)"
    )
    parser.add_argument(
        "--text_column",
        default=ReadOptions.text_column,
        metavar="NAME",
        help="column or field with the text (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it is there already")
    group = parser.add_argument_group("normalization", "Give what the runs will have that use the tokenizer.")
    add_flags({"normalization": group}, NormalizationSettings)


def run(arguments: argparse.Namespace) -> int:
    """Trains and writes; 0 done, 2 if nothing could be read, 3 done, but some sources were unreadable."""
    options = ReadOptions(text_column=arguments.text_column)
    given = {name: value for name, value in vars(arguments).items() if name in NormalizationSettings.model_fields}
    unreadable: list[str] = []

    def leave_out(uri: str, reason: str) -> None:
        unreadable.append(uri)
        Console(stderr=True).print(f"left out: {uri}: {reason}", markup=False, highlight=False, soft_wrap=True)

    with failures.before_work():
        normalization = resolve_part(NormalizationSettings, given).normalization()
        output = storage.absolute(arguments.output)
        if not arguments.overwrite and storage.stat(output) is not None:
            raise ValueError(f"output: {output} is there already; --overwrite replaces it, or name another file")
        sources = sources_of(arguments.input)
        preflight.check_columns(sources, options)
        shards = [shard for source in sources for shard in split(source, options)]
        for shard in shards:
            if shard.error:
                leave_out(shard.source.uri, shard.error)
        usable = [shard for shard in shards if not shard.error]
        trained = train_tokenizer(
            (text for shard in usable for text in _texts(shard, options, normalization, arguments, leave_out)),
            arguments.vocab_size,
            arguments.special_token,
        )
        storage.write(output, trained)
    sys.stdout.write(f"{arguments.output}: {len(trained):,} bytes, trained on {len(usable)} shards\n")
    return DONE_WITH_UNREADABLE_SOURCES if unreadable else 0


def _texts(
    shard: Shard,
    options: ReadOptions,
    normalization: Normalization,
    arguments: argparse.Namespace,
    leave_out: Callable[[str, str], None],
) -> Iterator[str]:
    """The sampled texts of a shard; of one that turns out to be broken, those before the break."""
    try:
        for batch in read(shard, options):
            ids = batch["row"].to_numpy().astype(np.uint64) + np.uint64(document_id(shard.source.number, 0))
            chosen = batch["text"].filter(pa.array(in_sample(ids, arguments.fraction, arguments.seed)))
            yield from normalize(chosen.drop_null(), normalization).to_pylist()
    except UnreadableSource as broken:
        leave_out(broken.uri, f"{broken.reason}; what stood before that was read")
