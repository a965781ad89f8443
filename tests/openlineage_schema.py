"""OpenLineage events checked against the client's classes, which are generated from the published JSON schema.

The schema itself is in none of the registries. Its classes carry its names, types, required properties and versions:
an event is right if each of its objects has all that is required, nothing unknown, and values of the right types.
"""

from __future__ import annotations

import datetime
import enum
import importlib
import inspect
import pkgutil
import types
import typing
import urllib.parse
import uuid
from typing import Any

import attr
from openlineage.client import event_v2, generated
from openlineage.client.generated.base import BaseFacet

_FACETS: dict[str, type] = {}
for _module in pkgutil.iter_modules(generated.__path__):
    _contents = vars(importlib.import_module(f"{generated.__name__}.{_module.name}"))
    for _class in filter(inspect.isclass, _contents.values()):
        if issubclass(_class, BaseFacet):
            _FACETS[_class._get_schema()] = _class


def check_event(event: dict[str, Any]) -> None:
    """Raises AssertionError, with the place in its message, if this isn't a run event of the schema."""
    _check(event_v2.RunEvent, event, "event")
    assert event["schemaURL"] == event_v2.RunEvent._get_schema()
    assert urllib.parse.urlparse(event["producer"]).scheme
    assert datetime.datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    uuid.UUID(event["run"]["runId"])


def _check(expected: Any, value: Any, place: str) -> None:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return
    if origin in (types.UnionType, typing.Union):
        optional = [kind for kind in arguments if kind is not type(None)]
        assert value is not None, f"{place}: null, where the property should be absent"
        _check(optional[0], value, place)
    elif origin is list:
        assert isinstance(value, list), f"{place}: not a list"
        for i, entry in enumerate(value):
            _check(arguments[0], entry, f"{place}[{i}]")
    elif origin is dict:
        assert isinstance(value, dict), f"{place}: not an object"
        for name, entry in value.items():
            _check(arguments[1], entry, f"{place}.{name}")
    elif inspect.isclass(expected) and issubclass(expected, enum.Enum):
        assert value in [member.value for member in expected], f"{place}: {value!r}"
    elif attr.has(expected):
        _check_object(expected, value, place)
    else:
        assert isinstance(value, expected) and not (expected is int and isinstance(value, bool)), f"{place}: {value!r}"


def _check_object(expected: type, value: Any, place: str) -> None:
    assert isinstance(value, dict), f"{place}: not an object"
    custom = False
    if issubclass(expected, BaseFacet):
        expected_here = _FACETS[value["_schemaURL"]]
        assert issubclass(expected_here, expected), f"{place}: {expected_here} isn't a {expected}"
        custom = expected_here is expected  # a facet of one's own: anything beside the base
        expected = expected_here
        assert urllib.parse.urlparse(value["_producer"]).scheme, f"{place}._producer"
    kinds = typing.get_type_hints(expected)
    fields = {field.name: field for field in attr.fields(expected)}
    for name, field in fields.items():
        assert name in value or field.default is not attr.NOTHING, f"{place}.{name} is required"
    for name, entry in value.items():
        assert custom or name in fields, f"{place}.{name} isn't in the schema"
        if name in fields:
            _check(kinds[name], entry, f"{place}.{name}")
