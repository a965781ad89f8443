"""The family ``urls``: documents go by their address; the registered domain is an attribute."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.io import storage, url_lists
from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.urls.lists import KINDS, REASONS, Words, judge
from transforms.recipe.families import Condition, Family

_PLACES = ("domains", "hosts", "urls", "ut1")
_WORDS = ("hard_words", "soft_words", "substrings")


@dataclasses.dataclass(frozen=True, kw_only=True)
class UrlOptions:
    """What is unwanted in URLs. Lists are files, plain or gzip, local or on S3; words are given, or such files.

    Attributes:
      column: the kept column with the URL.
      domains: lists of domains; what is on them goes with all hosts below it.
      hosts: lists of hosts, each for itself.
      urls: lists of URLs; scheme, user, port, ``www.``, fragment and a slash at the end don't matter.
      ut1: folders as the UT1 lists have them, with ``domains`` and ``urls`` in each.
      hard_words, soft_words, substrings: what is left of them when all but letters and digits of ASCII goes.
      min_soft_words: how many different soft words are too many.
      pins: what ``resolve`` has found in the lists.
    """

    column: str = "url"
    domains: str | Sequence[str] = ()
    hosts: str | Sequence[str] = ()
    urls: str | Sequence[str] = ()
    ut1: str | Sequence[str] = ()
    hard_words: str | Sequence[str] = ()
    soft_words: str | Sequence[str] = ()
    substrings: str | Sequence[str] = ()
    min_soft_words: int = 2
    pins: url_lists.Pins | None = None

    def __post_init__(self) -> None:
        for name in (*_PLACES, *_WORDS):
            given = getattr(self, name)
            if not isinstance(given, str) and not all(isinstance(value, str) for value in given):
                raise ValueError(f"{name} must be a string or a list of strings, not {given!r}")
        if self.min_soft_words < 1:
            raise ValueError(f"min_soft_words must be at least 1, not {self.min_soft_words}")

    @classmethod
    def resolve(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the hashes of lists, and the words themselves where a file is named.

        Raises:
          ValueError: a file or folder can't be read.
        """
        if arguments.get("pins") is not None:
            return arguments
        found = dict(arguments)
        given = cls(**{name: value for name, value in arguments.items() if name in _FIELDS})
        try:
            for name in _WORDS:
                if isinstance(getattr(given, name), str):
                    lines = storage.read_bytes(storage.absolute(getattr(given, name))).decode().splitlines()
                    found[name] = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
            lists = {kind: _listed(getattr(given, kind)) for kind in KINDS}
            found["pins"] = url_lists.pin(lists, _listed(given.ut1))
        except (storage.StorageError, UnicodeDecodeError) as error:
            raise ValueError(str(error)) from error
        return found


def _listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


_FIELDS = {field.name for field in dataclasses.fields(UrlOptions)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class UrlMatches(UrlOptions):
    """Adds ``domain``, the registered domain of the URL (null without one), and ``url_match`` (uint8).

    That is 0, or why the URL is unwanted: a place in ``transforms.kernels.urls.lists.REASONS`` from 1.
    """

    columns = {"domain": pa.string(), "url_match": pa.uint8()}  # noqa: RUF012 - part of the contract of a step

    def setup(self) -> None:
        """Maps the table of the lists, made if this machine has none yet."""
        pins = self.pins if self.pins is not None else self.resolve(dataclasses.asdict(self))["pins"]
        hard, soft, substrings = (_listed(getattr(self, name)) for name in _WORDS)
        words = Words.of(hard, soft, substrings, self.min_soft_words)
        domains, hosts, urls = (bool(pins.get(kind)) for kind in KINDS)
        object.__setattr__(self, "_ready", (url_lists.table(pins), words, (domains, hosts, urls)))

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The two of each document."""
        if self.column not in documents.schema.names:
            raise ValueError(f"there is no column {self.column!r}: name it in keep_columns, or set `column`")
        if not hasattr(self, "_ready"):
            self.setup()
        table, words, asked = self._ready  # type: ignore[attr-defined]
        urls = documents[self.column]
        if pa.types.is_dictionary(urls.type):
            urls = urls.dictionary_decode()
        offsets, data = offsets_and_data(pc.fill_null(urls.cast(pa.string()), ""))
        out, out_offsets, reasons = judge(data, offsets, table, words, asked)
        found = pa.StringArray.from_buffers(
            len(urls), pa.py_buffer(out_offsets.astype(np.int32)), pa.py_buffer(out[: out_offsets[-1]])
        )
        empty = pa.array(np.diff(out_offsets) == 0)
        return {"domain": pc.if_else(empty, pa.scalar(None, pa.string()), found), "url_match": pa.array(reasons)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Urls(UrlOptions, Family):
    """Drops documents whose URL is on a list, or has unwanted words; one without a URL stays."""

    def needs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The annotator whose columns the rules read, with these options."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(UrlOptions)}
        defaults = {field.name: field.default for field in dataclasses.fields(UrlOptions)}
        return (("url_matches", {name: value for name, value in own.items() if value != defaults[name]}),)

    def conditions(self) -> Iterator[Condition]:
        """One rule for each way of being unwanted."""
        for place, reason in enumerate(REASONS):
            yield f"url_{reason}", f"url_match != {place + 1}", True
