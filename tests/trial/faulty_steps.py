"""Steps with one fault each, as researchers write them by mistake."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SEEN: set[str] = set()
HELD: list[str] = []


def stateful(text: str) -> bool:
    """Keeps the first document of each beginning: workers don't share what they have seen."""
    first = text[:40] in SEEN
    SEEN.add(text[:40])
    return not first


class Batchy:
    """Drops what is longer than the mean of its batch."""

    reasons = ("batchy",)

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        length = pc.utf8_length(documents["text"])
        return pc.less_equal(length, pc.mean(length))


def hashed(text: str) -> bool:
    """Keeps a half by ``hash``, which differs from process to process."""
    return hash(text) % 2 == 0


def lucky(text: str) -> float:
    return random.random()


def raising(text: str) -> bool:
    numbers = re.findall(r"raise-at-(\w+)", text)
    return all(int(number) > 0 for number in numbers)


class WrongLength:
    """Forgets the documents that it has nothing to say about."""

    reasons = ("wrong_length",)

    def __call__(self, documents: pa.RecordBatch) -> list[bool]:
        return [True for text in documents["text"].to_pylist() if len(text) > 120]


class WrongType:
    """Says how long instead of whether it stays."""

    reasons = ("wrong_type",)

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        return pc.utf8_length(documents["text"])


class Mutating:
    """Writes into the buffer that all steps share."""

    columns = {"first_letter": pa.uint8()}  # noqa: RUF012

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        text = documents["text"]
        address = text.buffers()[2].address
        size = text.buffers()[2].size
        import ctypes

        letters = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        first = pa.array(np.full(len(text), letters[0]))
        letters[0] = letters[0] ^ 32
        return {"first_letter": first}


def catastrophic(text: str) -> bool:
    return re.search(r"^(\w+\s?)*$", text.replace(".", "").replace(",", "")[:60] + "!") is None or True


def leaking(text: str) -> float:
    HELD.append(text * 3)
    return float(len(HELD[-1])) * 0 + len(text)


def printing(text: str) -> bool:
    if len(text) % 2:
        print("odd")  # noqa: T201
    return True


def slow(text: str) -> float:
    total = 0
    for _ in range(200):
        for character in text:
            total += ord(character)
    return total / len(text)


def nan(text: str) -> float:
    return float("nan") if "river" in text or len(text) % 7 == 0 else 1.0


def undeclared(text: str) -> Literal["declared"] | None:
    return "not_declared" if len(text) % 5 == 0 else None  # type: ignore[return-value]


def crashing(text: str) -> bool:
    if "crash-here" in text:
        os._exit(7)
    return True


def sleeping(text: str) -> bool:
    while "sleep-here" in text:
        try:
            time.sleep(3600)
        except BaseException:  # noqa: BLE001 - it can't be interrupted
            continue
    return True


def huge(text: str) -> bool:
    if "fill-memory" in text:
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20)) * 32)
    return True
