"""The schema in a Parquet footer: columns found by their paths, and a schema of our own that has these alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.io.kept_columns import splits
from transforms.io.readers import footer_bytes as kernel
from transforms.io.readers.common import UnreadableSource, decoding
from transforms.io.readers.formats import PARQUET_MAGIC
from transforms.io.token_lists import thrift_compact as thrift

AS_STORED = {"arrow_extensions_enabled": False}  # JSON is a string, a UUID is bytes

_VERSION, _SCHEMA = 1, 2  # fields of FileMetaData
_REPETITION, _NAME, _CHILDREN, _CONVERTED, _LOGICAL = 3, 4, 5, 6, 10  # fields of SchemaElement
_REQUIRED, _REPEATED = 0, 2


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that is read: a leaf on the top level, or anything within a struct of one field that is named by us.

    Attributes:
      name: of it in our schema.
      elements: its SchemaElements, as in the footer or, around what is read of a struct, with one child.
      leaves: numbers of its columns with data among all of the file.
      types: Parquet's numbers of their physical types.
      repeated: whether each may have more values than there are rows.
      paths: the name of each in our schema.
      depth: how many structs of one field are around it.
    """

    name: str
    elements: tuple[bytes, ...]
    leaves: tuple[int, ...]
    types: tuple[int, ...]
    repeated: tuple[bool, ...]
    paths: tuple[tuple[bytes, ...], ...]
    depth: int

    def inner(self, values: pa.Array) -> pa.Array:
        """The column's values, without the structs that are around it."""
        return pc.struct_field(values, [0] * self.depth) if self.depth else values

    def type(self) -> tuple[pa.DataType, str]:
        """Its Arrow type and, of a single leaf, Parquet's name of its converted type.

        Raises:
          UnreadableSource: pyarrow doesn't know it.
        """
        with decoding("", ""):
            schema = pq.ParquetFile(file_of(encoded([self], [], 0, b"")), **AS_STORED)
            kind, converted = schema.schema_arrow.field(0).type, schema.schema.column(0).converted_type
        for _ in range(self.depth):
            kind = kind.field(0).type
        return kind, converted


class Schema:
    """The schema of a file.

    Args:
      uri: of the file.
      data: its footer.
      place: where the schema begins in it, -1 if it has none.

    Raises:
      UnreadableSource: it is damaged.
    """

    def __init__(self, uri: str, data: np.ndarray, place: int) -> None:
        self._data = data
        self._elements = np.zeros((0, len(kernel.ELEMENT)), np.int64)
        if place >= 0:
            self._elements = kernel.schema_elements(data, place)
        children, kinds = (self._elements[:, kernel.ELEMENT.index(name)] for name in ("children", "type"))
        impossible = (children < 0) | (children > len(children))
        if not len(children) or impossible.any() or children.sum() != len(children) - 1:  # all but the root
            raise UnreadableSource(uri, "the Parquet footer can't be read: its schema is damaged")
        self._children = children.tolist()
        self._is_leaf = (children == 0) & (kinds >= 0)  # a struct without fields has no data
        self._before = np.cumsum(self._is_leaf) - self._is_leaf
        self.top = self._children_of(0)

    @property
    def leaves(self) -> int:
        """How many columns with data there are."""
        return int(np.count_nonzero(self._is_leaf))

    @property
    def names(self) -> list[str]:
        """The names of the columns on the top level."""
        return [self._name(element) for element in self.top]

    def paths(self, most: int) -> list[str]:
        """The names of all columns, those in structs by their paths; so many at most."""
        found: list[str] = []
        waiting = [(element, self._name(element)) for element in reversed(self.top)]
        while waiting and len(found) < most:
            element, path = waiting.pop()
            found.append(path)
            if self._is_struct(element):
                inner = [(child, f"{path}.{self._name(child)}") for child in self._children_of(element)]
                waiting += reversed(inner)
        return found

    def find(self, path: str) -> list[list[int]]:
        """Where columns with this path are: each as the elements from the top level down to it."""
        return self._find(self.top, path)

    def flat(self, chain: list[int], name: str) -> Column | None:
        """The column of one value a row that is found there; None if it is a list or struct."""
        element = self._elements[chain[-1]]
        if not self._is_leaf[chain[-1]] or element[kernel.ELEMENT.index("repetition")] == _REPEATED:
            return None
        return self.column(chain, name, within_struct=len(chain) > 1)

    def column(self, chain: list[int], name: str, within_struct: bool = True) -> Column:
        """The column of any type that is found there."""
        first = chain[-1]
        end = self._end_of(first)
        inside = [way for way in self._ways(chain) if self._is_leaf[way[-1]]]
        elements = [bytes(self._data[row[0] : row[1]]) for row in self._elements[first:end].tolist()]
        around = [self._around(element) for element in chain[:-1]]
        outer: tuple[bytes, ...] = (name.encode(),)
        if within_struct:
            around.insert(0, _struct(name.encode(), _REQUIRED))
        return Column(
            name,
            (*around, *elements),
            tuple(int(self._before[way[-1]]) for way in inside),
            tuple(self._of(way[-1], "type") for way in inside),
            tuple(any(self._of(element, "repetition") == _REPEATED for element in way) for way in inside),
            tuple((*outer, *map(self._raw_name, way)) if within_struct else outer for way in inside),
            len(around),
        )

    def type_at(self, chain: list[int]) -> str:
        """The type of what is found there, in pyarrow's words if it has any."""
        try:
            return str(self.column(chain, "x").type()[0])
        except UnreadableSource:
            return "a list or struct"

    def _of(self, element: int, name: str) -> int:
        return int(self._elements[element, kernel.ELEMENT.index(name)])

    def _raw_name(self, element: int) -> bytes:
        return bytes(self._data[self._of(element, "name_start") : self._of(element, "name_end")])

    def _name(self, element: int) -> str:
        return self._raw_name(element).decode(errors="replace")

    def _end_of(self, element: int) -> int:
        """The element after a subtree."""
        open_ends, at = 1, element
        while open_ends and at < len(self._children):
            open_ends += self._children[at] - 1
            at += 1
        return at

    def _children_of(self, element: int) -> list[int]:
        found, at = [], element + 1
        for _ in range(self._children[element]):
            if at < len(self._children):
                found.append(at)
                at = self._end_of(at)
        return found

    def _ways(self, chain: list[int]) -> list[list[int]]:
        """The elements from the top level down to each of a subtree, in order."""
        found, waiting = [], [chain]
        while waiting:
            way = waiting.pop()
            found.append(way)
            waiting += [[*way, child] for child in reversed(self._children_of(way[-1]))]
        return found

    def _is_struct(self, element: int) -> bool:
        """Whether it has one set of fields a row: it's no list and no map."""
        if not self._children[element] or self._of(element, "repetition") == _REPEATED:
            return False
        try:
            stored = thrift.decode(bytes(self._data[self._of(element, "start") : self._of(element, "end")]))
        except (ValueError, IndexError):
            return False  # damaged in what isn't needed of a leaf
        return _CONVERTED not in stored and _LOGICAL not in stored

    def _around(self, element: int) -> bytes:
        return _struct(self._raw_name(element), self._of(element, "repetition"))

    def _find(self, among: list[int], path: str) -> list[list[int]]:
        exact = [[element] for element in among if self._name(element) == path]
        if exact:
            return exact
        for name, rest in splits(path):
            for element in among:
                if self._name(element) != name or not self._is_struct(element):
                    continue
                if inner := self._find(self._children_of(element), rest):
                    return [[element, *way] for way in inner]
        return []


def _struct(name: bytes, repetition: int) -> bytes:
    """The SchemaElement of a struct of one field."""
    return thrift.encode(
        {_REPETITION: (thrift.I32, repetition), _NAME: (thrift.BINARY, name), _CHILDREN: (thrift.I32, 1)}
    )


def encoded(columns: list[Column], groups: list[thrift.Struct], rows: int, created_by: bytes) -> bytes:
    """A FileMetaData with these columns alone.

    The SchemaElements are encoded already: they are put between version and rows.
    """
    root = thrift.encode({_NAME: (thrift.BINARY, b"schema"), _CHILDREN: (thrift.I32, len(columns))})
    elements = [root, *(element for column in columns for element in column.elements)]
    head = thrift.encode({_VERSION: (thrift.I32, 2)})[:-1]
    schema = thrift.encode({1: (thrift.LIST, (thrift.STRUCT, [{}] * len(elements)))})[: -1 - len(elements)]
    rest: thrift.Struct = {1: (thrift.I64, rows), 2: (thrift.LIST, (thrift.STRUCT, groups))}
    if created_by:
        rest[4] = (thrift.BINARY, created_by)  # field 6: ids count from the schema's, as each is written as a step
    return head + schema + b"".join(elements) + thrift.encode(rest)


def file_of(footer: bytes) -> pa.BufferReader:
    """A Parquet file that is nothing but a footer."""
    return pa.BufferReader(PARQUET_MAGIC + footer + len(footer).to_bytes(4, "little") + PARQUET_MAGIC)
