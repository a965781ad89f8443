"""Exports in tests: runs with given documents, exports in this process, and readers that know the formats only."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.export import run as running
from beam_pipeline.export.plan import ExportPlan, make_plan
from beam_pipeline.export.settings import ExportSettings
from beam_pipeline.plan import FORMAT
from beam_pipeline.sample import tokenizer_path
from schemas import columns
from schemas.run_layout import stable_hash
from schemas.shards import Shard, Source, document_id
from transforms.export.plan_tables import read_files
from transforms.export.write_files import write_file
from transforms.io.stage_objects import StageObjects

Tokens = tuple[int, ...]
Document = tuple[int, int]  # position of the run, id


def export(output: Path, runs: Path | Sequence[Path], format: str = "parquet", **settings: Any) -> ExportPlan:
    """An export without Beam: plan, files, manifest."""
    outputs = [str(run) for run in ([runs] if isinstance(runs, Path) else runs)]
    plan = make_plan(ExportSettings(run=outputs, output=str(output), format=format, **settings))
    for file in read_files(plan.stored):
        write_file(file, plan.options)
    running.finish(plan)
    return plan


def manifest(output: Path) -> dict[str, Any]:
    return json.loads((output / "export.json").read_text())


def digests(output: Path, *folders: str) -> dict[str, str]:
    """SHA-256 of the files below an export, or below some of its folders; without what a killed command was writing."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file()
        and path.suffix != ".unfinished"
        and (not folders or path.relative_to(output).parts[0] in folders)
    }


def make_run(
    folder: Path,
    documents: Sequence[Sequence[int]],
    *,
    objects: int = 2,
    row_group: int = 50,
    eos: str | None = None,
    languages: Sequence[str] | None = None,
    cluster_sizes: Sequence[int] | None = None,
    run: str = "00000000-0000-0000-0000-000000000001",
    id_type: pa.DataType | None = None,
    urls: Sequence[str | None] | None = None,
) -> Path:
    """A finished run's output as an export sees it: token objects, plan, manifest, sources."""
    folder.mkdir(parents=True)
    tokenizer = hashlib.sha256(tokenizer_path().read_bytes()).hexdigest()
    made = {"tokens": True, "tokenizer_sha256": tokenizer, "bos": None, "eos": eos}
    deciding = {"fingerprints": {"format": FORMAT}, "tokens": made}
    settings = {"tokenizer": str(tokenizer_path())}
    plan = {"run": run, "settings": settings, "created": "", "deciding": deciding, "outcomes": {}}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "run.json").write_text(json.dumps({"run": run, "counts": {"documents": len(documents)}}))
    sources = [Source(number, f"/source/{number}", "etag", 1) for number in range(objects)]
    rows = {
        "number": [source.number for source in sources],
        "uri": [source.uri for source in sources],
        "etag": ["etag"] * objects,
        "size": [1] * objects,
        "packed": [1] * objects,
    }
    pq.write_table(pa.table(rows, schema=columns.SOURCES), folder / "sources.parquet")
    more = [pa.field("url", pa.string())] if urls else []
    schema = columns.tokens(id_type or pa.uint16(), with_text=False, more=more)
    stage = StageObjects(str(folder / "tokens"), stable_hash(deciding))
    bounds = np.linspace(0, len(documents), objects + 1).astype(int)
    for source, first, end in zip(sources, bounds[:-1], bounds[1:], strict=True):
        writer = stage.open(Shard(source), schema, lists="input_ids", use_dictionary=["language", "source"])
        for begin in range(first, end, row_group):
            mine = range(begin, min(end, begin + row_group))
            count = len(mine)
            values = {
                "input_ids": [list(documents[n]) for n in mine],
                "n_tokens": [len(documents[n]) for n in mine],
                "id": [document_id(source.number, n - int(first)) for n in mine],
                "language": pa.array([languages[n] if languages else "en" for n in mine]).dictionary_encode(),
                "language_score": [1.0] * count,
                "cluster_size": [cluster_sizes[n] if cluster_sizes else 1 for n in mine],
                "source": pa.array([source.uri] * count).dictionary_encode(),
                "user_id": [f"mine {n}" for n in mine],
                "source_row": [n - int(first) for n in mine],
                "url": [urls[n] if urls else None for n in mine],
            }
            arrays = [pa.array(values[field.name], field.type) for field in schema]
            writer.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
        writer.commit()
    return folder


def documents_of(*runs: Path) -> dict[Document, Tokens]:
    """What the token objects of runs have, read by pyarrow."""
    found = {}
    for position, run in enumerate(runs):
        for file in sorted((run / "tokens").glob("*.parquet")):
            table = pq.read_table(file, columns=["id", "input_ids"])
            for identifier, ids in zip(table["id"].to_pylist(), table["input_ids"].to_pylist(), strict=True):
                found[position, identifier] = tuple(ids)
    return found


def sequences(output: Path, split: str = "train") -> list[Tokens]:
    """All sequences of an export, file after file, read by what the format says."""
    format = json.loads((output / "plan.json").read_text())["deciding"]["format"]
    reader = {
        "megatron": _megatron, "mds": _mds, "parquet": _parquet, "arrow": _arrow, "aleph-alpha": _aleph_alpha,
    }[format]  # fmt: skip
    return [tuple(found) for found in reader(output / split)]


def _megatron(folder: Path) -> list[list[int]]:
    found = []
    for path in sorted(folder.glob("*.idx")):
        data = path.read_bytes()
        magic, version, kind, count, documents = struct.unpack_from("<9sQBQQ", data)
        assert (magic, version) == (b"MMIDIDX\0\0", 1)
        at = struct.calcsize("<9sQBQQ")
        lengths = np.frombuffer(data, "<i4", count, at)
        offsets = np.frombuffer(data, "<i8", count, at + 4 * count)
        first = np.frombuffer(data, "<i8", documents, at + 12 * count)
        assert at + 12 * count + 8 * documents == len(data)
        assert first[0] == 0 and first[-1] == count
        dtype = np.dtype({8: "<u2", 4: "<i4"}[kind])
        tokens = path.with_suffix(".bin").read_bytes()
        assert len(tokens) == lengths.sum() * dtype.itemsize
        found += [np.frombuffer(tokens, dtype, n, at).tolist() for n, at in zip(lengths, offsets, strict=True)]
    return found


def samples(folder: Path) -> list[dict[str, list[int]]]:
    """The samples of an MDS folder, all columns."""
    found = []
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        [count] = struct.unpack_from("<I", data)
        assert count == shard["samples"]
        offsets = struct.unpack_from(f"<{count + 1}I", data, 4)
        header = json.loads(data[4 + 4 * (count + 1) : offsets[0]])
        assert header["column_names"] == shard["column_names"] and offsets[-1] == len(data)
        for begin in offsets[:-1]:
            names = header["column_names"]
            sizes = struct.unpack_from(f"<{len(names)}I", data, begin)
            at, sample = begin + 4 * len(names), {}
            for name, encoding, size in zip(names, header["column_encodings"], sizes, strict=True):
                assert data[at] == (1 << 2 | 2)  # one axis, its length uint32
                [length] = struct.unpack_from("<I", data, at + 1)
                sample[name] = np.frombuffer(data, encoding.split(":")[1], length, at + 5).tolist()
                assert 5 + length * np.dtype(encoding.split(":")[1]).itemsize == size
                at += size
            found.append(sample)
    return found


def _mds(folder: Path) -> list[list[int]]:
    return [sample["input_ids"] for sample in samples(folder)]


def _parquet(folder: Path) -> list[list[int]]:
    return [ids for path in sorted(folder.glob("*.parquet")) for ids in pq.read_table(path)["input_ids"].to_pylist()]


def _arrow(folder: Path) -> list[list[int]]:
    found = []
    for file in json.loads((folder / "state.json").read_text())["_data_files"]:
        found += pa.ipc.open_stream((folder / file["filename"]).read_bytes()).read_all()["input_ids"].to_pylist()
    return found


def _aleph_alpha(folder: Path) -> list[list[int]]:
    found = []
    for path in sorted(folder.glob("*.meta.json")):
        meta = json.loads(path.read_text())
        prefix = str(path)[: -len(".meta.json")]
        tokens = np.fromfile(prefix + ".bin", meta["dtype"])
        pairs = np.fromfile(prefix + ".idx", meta["index_dtype"]).reshape(-1, 2)
        assert len(pairs) == meta["document_count"]
        found += [tokens[first : first + length].tolist() for first, length in pairs]
    return found
