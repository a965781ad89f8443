"""Reads an export with the library that a trainer has, in its environment; ours isn't there.

``python read.py FORMAT FOLDER OUT``: all sequences to OUT (``.npz``: ``tokens``, ``lengths``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def megatron(folder: Path) -> Iterator[np.ndarray]:
    """Megatron-core's IndexedDataset, memory-mapped."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    for path in sorted(folder.glob("*.idx")):
        dataset = IndexedDataset(str(path.with_suffix("")), multimodal=False, mmap=True)
        assert dataset.document_indices[-1] == len(dataset)
        yield from (dataset[index] for index in range(len(dataset)))


def mds(folder: Path) -> Iterator[np.ndarray]:
    """MosaicML's StreamingDataset under a torch DataLoader."""
    from streaming import StreamingDataset
    from torch.utils.data import DataLoader

    dataset = StreamingDataset(local=str(folder), shuffle=False, batch_size=1)
    for sample in DataLoader(dataset, batch_size=None):
        yield np.asarray(sample["input_ids"])


def arrow(folder: Path) -> Iterator[np.ndarray]:
    """Hugging Face datasets, from disk, under a torch DataLoader."""
    from datasets import load_from_disk
    from torch.utils.data import DataLoader

    dataset = load_from_disk(str(folder)).with_format("numpy")
    for row in DataLoader(dataset, batch_size=None):
        yield np.asarray(row["input_ids"])


def parquet(folder: Path) -> Iterator[np.ndarray]:
    """Hugging Face datasets, from Parquet."""
    from datasets import load_dataset

    files = [str(path) for path in sorted(folder.glob("*.parquet"))]
    dataset = load_dataset("parquet", data_files=files, split="train", cache_dir=str(folder.parent / "cache"))
    for row in dataset.with_format("numpy"):
        yield row["input_ids"]


def numpy(folder: Path) -> Iterator[np.ndarray]:
    """A memory map, as nanoGPT and OLMo-core make it: each file is one array."""
    import torch

    for path in sorted(folder.glob("*.bin")):
        mapped = np.memmap(path, np.uint16, mode="r")
        yield torch.from_numpy(np.array(mapped, np.int64)).numpy()


READERS = {"megatron": megatron, "mds": mds, "arrow": arrow, "parquet": parquet, "numpy": numpy}


if __name__ == "__main__":
    found = [np.asarray(sequence).astype(np.int64) for sequence in READERS[sys.argv[1]](Path(sys.argv[2]))]
    np.savez(sys.argv[3], tokens=np.concatenate(found), lengths=[len(sequence) for sequence in found])
