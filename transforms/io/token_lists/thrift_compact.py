"""Thrift's compact protocol, as far as Parquet's footers and page headers need it.

A struct is ``{field: (type, value)}``, its fields in ascending order; a list is ``(type of its elements, [elements])``;
binary and string are bytes; integers of every width are int. https://github.com/apache/thrift/blob/master/doc/specs/
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, I8, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
_INTEGERS = (I16, I32, I64)

Struct = dict[int, tuple[int, Any]]


def varint(number: int) -> bytes:
    """A number of 0 or more, seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(struct: Struct) -> bytes:
    """The bytes of a struct.

    Raises:
      ValueError: it holds a type that isn't one of the module's constants.
    """
    out, last = bytearray(), 0
    for field, (kind, value) in struct.items():
        step = field - last
        out += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + varint(field << 1)
        out += _encode_value(kind, value)
        last = field
    return bytes(out + b"\0")


def _encode_value(kind: int, value: Any) -> bytes:
    if kind in (TRUE, FALSE):
        return b""  # the field's type is the value
    if kind in _INTEGERS:
        return varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if kind in (I8, DOUBLE):
        return bytes(value)
    if kind == BINARY:
        return varint(len(value)) + value
    if kind in (LIST, SET):
        of, elements = value
        head = bytes([len(elements) << 4 | of]) if len(elements) < 15 else bytes([0xF0 | of]) + varint(len(elements))
        return head + b"".join(_encode_value(of, element) for element in elements)
    if kind == STRUCT:
        return encode(value)
    raise ValueError(f"Thrift type {kind} isn't one that Parquet's metadata uses")


def decode(data: bytes) -> Struct:
    """The struct at the beginning of the bytes; what comes after it isn't looked at.

    Raises:
      ValueError: it holds a type that isn't one of the module's constants.
      IndexError: it is cut short.
    """
    return _Decoder(data).struct()


def decode_from(data: bytes | memoryview, position: int) -> tuple[Struct, int]:
    """The struct that begins at a position, and where it ends; raises as ``decode``."""
    decoder = _Decoder(data, position)
    return decoder.struct(), decoder.position


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """The ``varint`` that begins at a position, and where it ends."""
    decoder = _Decoder(data, position)
    return decoder.varint(), decoder.position


class _Decoder:
    def __init__(self, data: bytes | memoryview, position: int = 0) -> None:
        self._data, self.position = data, position

    def struct(self) -> Struct:
        struct: Struct = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self.varint() >> 1
            struct[field] = (head & 0x0F, self._value(head & 0x0F))
        return struct

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _bytes(self, count: int) -> bytes:
        if self.position + count > len(self._data):
            raise IndexError("the Thrift struct is cut short")
        self.position += count
        return bytes(self._data[self.position - count : self.position])

    def varint(self) -> int:
        number = shift = 0
        while (byte := self._byte()) > 0x7F:
            number |= (byte & 0x7F) << shift
            shift += 7
        return number | byte << shift

    def _value(self, kind: int) -> Any:
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind in _INTEGERS:
            number = self.varint()
            return number >> 1 ^ -(number & 1)
        if kind in (I8, DOUBLE):
            return self._bytes(1 if kind == I8 else 8)
        if kind == BINARY:
            return self._bytes(self.varint())
        if kind in (LIST, SET):
            head = self._byte()
            count = head >> 4 if head < 0xF0 else self.varint()
            return head & 0x0F, [self._value(head & 0x0F) for _ in range(count)]
        if kind == STRUCT:
            return self.struct()
        raise ValueError(f"Thrift type {kind} isn't one that Parquet's metadata uses")
