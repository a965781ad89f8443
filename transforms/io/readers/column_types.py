"""Types of kept columns: what holds the values of two types without loss, and values cast to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
import pyarrow as pa

_FLOAT_HOLDS = {16: 11, 32: 24, 64: 53}
"""Bits of the whole numbers that a float of so many bits holds exactly."""


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both without loss, None if there is none.

    Null goes with anything. Whole numbers, floats, decimals, units of time get as wide as needed; whole numbers become
    floats where these are exact. A dictionary is its values. Lists, structs and maps follow their elements, and a
    struct has the fields of both.
    """
    if one == other:
        return one
    for mine, others in ((one, other), (other, one)):
        if pa.types.is_null(mine):
            return others
        if pa.types.is_dictionary(mine):
            return common_type(mine.value_type, others)
    return next((found for rule in _RULES if (found := rule(one, other)) is not None), None)


def _numbers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if pa.types.is_integer(one) and pa.types.is_integer(other):
        signed = [kind.bit_width for kind in (one, other) if pa.types.is_signed_integer(kind)]
        unsigned = [kind.bit_width for kind in (one, other) if not pa.types.is_signed_integer(kind)]
        bits = max([*signed, *(2 * bits if signed else bits for bits in unsigned)])
        return None if bits > 64 else pa.type_for_alias(f"{'int' if signed else 'uint'}{bits}")
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (one, other)):
        for bits in (16, 32, 64):
            if all(_goes_into_float(kind, bits) for kind in (one, other)):
                return pa.type_for_alias(f"float{bits}")
    return None


def _goes_into_float(kind: pa.DataType, bits: int) -> bool:
    if pa.types.is_floating(kind):
        return bool(kind.bit_width <= bits)
    return bool(kind.bit_width - pa.types.is_signed_integer(kind) <= _FLOAT_HOLDS[bits])


def _bytes(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if _is_string(one) and _is_string(other):
        return pa.string()
    return pa.binary() if all(_is_string(kind) or _is_binary(kind) for kind in (one, other)) else None


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_binary(kind: pa.DataType) -> bool:
    views = pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or views


def _times(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    units = ("s", "ms", "us", "ns")
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and (one.tz is None) == (other.tz is None):
        return pa.timestamp(max(one.unit, other.unit, key=units.index), one.tz and "UTC")
    for of_kind, wide in ((pa.types.is_time, pa.time64), (pa.types.is_duration, pa.duration)):
        if of_kind(one) and of_kind(other):
            return wide(max("us", one.unit, other.unit, key=units.index))
    return pa.date32() if pa.types.is_date(one) and pa.types.is_date(other) else None


def _decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_decimal(one) and pa.types.is_decimal(other)):
        return None
    scale = max(one.scale, other.scale)
    precision = max(one.precision - one.scale, other.precision - other.scale) + scale
    return pa.decimal128(precision, scale) if precision <= 38 else None


def _lists(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if not (_is_list(one) and _is_list(other)):
        return None
    elements = common_type(one.value_type, other.value_type)
    return None if elements is None else pa.list_(elements)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _structs(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_struct(one) and pa.types.is_struct(other)):
        return None
    fields: dict[str, pa.DataType] = {field.name: field.type for field in one}
    for field in other:
        found = common_type(fields.get(field.name, pa.null()), field.type)
        if found is None:
            return None
        fields[field.name] = found
    return pa.struct(list(fields.items()))


def _maps(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_map(one) and pa.types.is_map(other)):
        return None
    keys, items = common_type(one.key_type, other.key_type), common_type(one.item_type, other.item_type)
    return None if keys is None or items is None else pa.map_(keys, items)


_RULES: tuple[Callable[[pa.DataType, pa.DataType], pa.DataType | None], ...] = (
    _numbers, _bytes, _times, _decimals, _lists, _structs, _maps,
)  # fmt: skip


def stored_type(kind: pa.DataType) -> pa.DataType:
    """The type in which values of a type are stored; a column of nulls only is one of strings."""
    if pa.types.is_null(kind):
        return pa.string()
    if _is_list(kind):
        return pa.list_(stored_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, stored_type(field.type)) for field in kind])
    return common_type(kind, pa.null()) if not _is_string(kind) else pa.string()


def of_json(values: Iterable[Any]) -> list[pa.DataType]:
    """The types of values of a JSON field, those that go together as one: more than one of a field that is mixed.

    Whole numbers are int32 while all of them fit, so that they go together with floats (``widened``). An object is a
    string of JSON, and so is a list of values that don't go together.
    """
    found: list[pa.DataType] = []
    for kind in dict.fromkeys(map(_of_json, values)):
        for place, other in enumerate(found):
            if (both := common_type(kind, other)) is not None:
                found[place] = both
                break
        else:
            found.append(kind)
    return found


def _of_json(value: Any) -> pa.DataType:
    if value is None:
        return pa.null()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int32() if abs(value) < 2**31 else pa.int64() if abs(value) < 2**63 else pa.uint64()
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, list) and not any(isinstance(element, dict) for element in value):
        elements = of_json(value) or [pa.null()]
        return pa.list_(elements[0]) if len(elements) == 1 else pa.string()
    return pa.string()


def widened(kind: pa.DataType) -> pa.DataType:
    """The type of a column some of whose values are JSON, of which only the first rows were seen."""
    if pa.types.is_list(kind):
        return pa.list_(widened(kind.value_type))
    return pa.int64() if pa.types.is_signed_integer(kind) else kind


def fitted(values: pa.Array, kind: pa.DataType, any_type: bool = False) -> tuple[pa.Array, pa.Array]:
    """Values of any type as ``kind``, and which of them don't fit (Boolean) and are null.

    Args:
      any_type: parse and print values (``"7"`` as a number, a struct as JSON) instead of refusing another kind of type.
    """
    nothing = pa.repeat(pa.scalar(False), len(values))
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        array = _cast(values, kind, any_type)
        array.validate(full=True)
        return array, nothing
    except (pa.ArrowException, UnicodeDecodeError, TypeError):
        if len(values) == 1:
            return pa.nulls(1, kind), values.is_valid()
    parts = [fitted(values.slice(place, 1), kind, any_type) for place in range(len(values))]
    return pa.concat_arrays([part for part, _ in parts]), pa.concat_arrays([misfits for _, misfits in parts])


def _cast(values: pa.Array, kind: pa.DataType, any_type: bool) -> pa.Array:
    if values.type == kind:
        return values
    together = common_type(kind, values.type) == kind
    numbers = all(pa.types.is_integer(each) or pa.types.is_floating(each) for each in (values.type, kind))
    if not (together or numbers or any_type):
        raise TypeError(f"{values.type} isn't {kind}")
    if pa.types.is_string(kind) and pa.types.is_nested(values.type):
        return pa.array([None if value is None else as_json(value) for value in values.to_pylist()], kind)
    if pa.types.is_timestamp(kind) and _is_string(values.type) and kind.tz is None:
        try:
            return values.cast(kind)
        except pa.ArrowInvalid:  # times with a zone, such as 2024-02-29T12:00:00Z
            return values.cast(pa.timestamp(kind.unit, "UTC")).cast(kind)
    return values.cast(kind)


def as_json(value: Any) -> str:
    """A value as JSON text."""
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def fitted_json(values: Sequence[Any], kind: pa.DataType, any_type: bool = False) -> tuple[pa.Array, pa.Array]:
    """``fitted`` for values of a JSON field; what isn't a string is JSON text where ``kind`` is a string."""
    if pa.types.is_string(kind):
        strings = [value if value is None or type(value) is str else as_json(value) for value in values]
        return pa.array(strings, kind), pa.repeat(pa.scalar(False), len(strings))
    natural = _natural(values)
    one_type = natural is not None and (not pa.types.is_nested(kind) or common_type(kind, natural.type) == kind)
    if natural is None or (not one_type and len(values) > 1):
        if len(values) == 1:
            return pa.nulls(1, kind), pa.array([True])
        parts = [fitted_json([value], kind, any_type) for value in values]
        return pa.concat_arrays([part for part, _ in parts]), pa.concat_arrays([misfits for _, misfits in parts])
    return fitted(natural, kind, any_type)


def _natural(values: Sequence[Any]) -> pa.Array | None:
    """Values in the type that Arrow gives them, None if it finds none for all."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError):
        return None
