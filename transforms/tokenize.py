"""Tokenize: token ids for every kept text (``transforms.kernels.tokenization.tokenizer``)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches import Batch
from transforms.box import Box
from transforms.io import storage
from transforms.io.pinned_files import PinnedFile
from transforms.kernels.tokenization.tokenizer import Tokenizer

SAMPLE_BYTES = 64 * 2**10
"""Text of each shard that both engines encode before the fast one is trusted: about 40 ms."""


@dataclasses.dataclass(frozen=True)
class Tokenization:
    """How texts become ids: the tokenizer, the tokens put around each document, whether the text stays.

    ``fast_tokenizer`` allows the fast engine where it proves equal.
    """

    tokenizer: PinnedFile
    bos: str | None = None
    eos: str | None = None
    with_text: bool = False
    fast_tokenizer: bool = True

    @classmethod
    def from_file(cls, uri: str, **options: Any) -> Tokenization:
        """With the ``tokenizer.json`` at a path or URI, pinned as it is now; ``options`` as of this class."""
        return cls(PinnedFile.pin(storage.absolute(uri)), **options)

    def load(self) -> Tokenizer:
        """The tokenizer; what was loaded early is handed out once, as it isn't for several threads.

        Raises:
          ValueError: it can't be used, or bos or eos isn't in its vocabulary.
        """
        return _early.pop(self, None) or self._load()

    def load_early(self) -> None:
        """Loads the tokenizer for who asks for it next, here or in a process that is forked from this one."""
        _early[self] = self._load()

    def _load(self) -> Tokenizer:
        return Tokenizer.from_json(self.tokenizer.read(), bos=self.bos, eos=self.eos, allow_fast=self.fast_tokenizer)


_early: dict[Tokenization, Tokenizer] = {}


def sample_of(text: pa.StringArray, limit: int = SAMPLE_BYTES) -> pa.StringArray:
    """The beginnings of documents spread evenly over the batch, together about ``limit`` bytes at the most."""
    sample = text.take(pa.array(np.arange(0, len(text), max(1, len(text) // 64))))
    sample = pc.utf8_slice_codeunits(sample, 0, limit // 16)
    fitting = np.cumsum(pc.binary_length(sample).to_numpy()) <= limit
    return sample[: max(1, int(np.count_nonzero(fitting)))]


def lengths_and_unknown(
    tokenizer: Tokenizer, text: pa.StringArray, encoded: pa.ListArray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of each document without `bos` and `eos`, how much of it is unknown, and what share of it that is."""
    lengths = np.maximum(np.diff(encoded.offsets.to_numpy()).astype(np.int64) - tokenizer.wrapping, 0)
    unknown = tokenizer.unknown(text, encoded)
    return lengths, unknown, unknown / np.maximum(lengths + (unknown if tokenizer.leaves_out else 0), 1)


def spelling_of(tokenizer: Tokenizer, text: pa.StringArray, encoded: pa.ListArray) -> dict[str, int]:
    """How well the tokenizer spells some documents, as a segment's note."""
    lengths, unknown, share = lengths_and_unknown(tokenizer, text, encoded)
    return {
        "documents": len(lengths),
        "tokens": int(lengths.sum()),
        "unknown_tokens": int(unknown.sum()),
        "documents_with_unknown_tokens": int(np.count_nonzero(unknown)),
        "documents_over_a_tenth_unknown": int(np.count_nonzero(share > 0.1)),
        "documents_without_tokens": int(np.count_nonzero(lengths == 0)),
    }


@dataclasses.dataclass
class Tokenize(Box):
    """From ``Batch``: ``row``, ``id``, ``input_ids`` (and ``text`` on request) of the same documents.

    Attributes:
      columns: others that stay.
    """

    options: Tokenization
    columns: tuple[str, ...] = ()

    def setup(self) -> None:
        """Loads one single-threaded tokenizer a worker."""
        self._tokenizer = self.options.load()

    def apply(self, batch: Batch) -> Batch:
        """The token ids of each document, null without a text; of a shard's first batch, both engines are compared."""
        text = batch.data["text"]
        active = text.drop_null() if text.null_count else text
        if batch.index == 0 and len(active):
            with batch.at_work("CompareTokenizers"):
                batch.notes["tokenizer"] = dataclasses.asdict(self._tokenizer.calibrate(sample_of(active)))
        with batch.at_work("Tokenize"):
            ids = self._tokenizer.encode(active)
            batch.notes["spelling"] = spelling_of(self._tokenizer, active, ids)
            if text.null_count:
                places = np.cumsum(text.is_valid().to_numpy(zero_copy_only=False)) - 1
                ids = ids.take(pa.array(places, mask=text.is_null().to_numpy(zero_copy_only=False)))
        columns: dict[str, Any] = {"row": batch.data["row"], "id": batch.data["id"], "input_ids": ids}
        if self.options.with_text:
            columns["text"] = text
        columns |= {name: batch.data[name] for name in self.columns if name in batch.data.schema.names}
        return batch.with_data(pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)))
