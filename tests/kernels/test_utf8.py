"""The check of UTF-8 against Python's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from transforms.kernels.text.utf8 import all_utf8

# Both ends of every range of table 3-7 of the Unicode Standard, and their neighbours.
ENDS = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF)
ENDS += (0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check(*texts: bytes) -> bool:
    values = np.frombuffer(b"\xff" + b"".join(texts) + b"\xff", np.uint8)  # what is around doesn't count
    offsets = np.cumsum([1, *map(len, texts)], dtype=np.int32)
    values.flags.writeable = offsets.flags.writeable = False
    return all_utf8(values, offsets)


def test_every_sequence_of_up_to_four_bytes() -> None:
    for length in range(4):
        for text in itertools.product(ENDS, repeat=length):
            assert _check(bytes(text)) == _is_utf8(bytes(text)), text
    for text in itertools.product((0x41, *ENDS[2:8], 0xC2, *ENDS[12:]), repeat=4):
        assert _check(bytes(text)) == _is_utf8(bytes(text)), text


@pytest.mark.parametrize("before", [*range(6), *range(250, 264), *range(506, 520)])
def test_wherever_it_stands_in_a_long_text(before: int) -> None:
    for sequence in ("ü", "中", "🌍"):
        encoded = sequence.encode()
        assert _check(b"a" * before + encoded + b"b" * 300)
        assert _check(b"a" * before + encoded)
        for damaged in (encoded[:-1], encoded[1:], encoded + b"\x80", b"\x80" + encoded):
            assert not _check(b"a" * before + damaged + b"b" * 300)
            assert not _check(b"a" * before + damaged)


def test_each_text_by_itself() -> None:
    assert _check(b"", "ü".encode(), b"", b"a", b"")
    assert not _check(b"\xc3", b"\xbc")
    assert not _check(b"a" * 400 + b"\xc3", b"\xbc")
    assert _check() and _check(b"")
