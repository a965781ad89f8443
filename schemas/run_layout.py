"""What a run stores under its output: the names of its objects, the entries of their footers, and its plan.

Under the output stand, in the order in which they are written:

- ``plan.json``: the run's id, its settings and all that decides its results (``StoredPlan``);
- ``sources.parquet``: the pinned sources (``schemas.columns.SOURCES``);
- ``fingerprints/SHARD.parquet``: one object a shard at the end of pass 1 (``schemas.columns.fingerprints``);
- ``earlier/SHARD.parquet``: in a run of a corpus, what is dropped for earlier runs (``schemas.columns.EARLIER``);
- ``deduplication_audit.parquet``: a sample of pairs whose texts were compared (``schemas.columns.AUDIT``);
- ``tokens/SHARD.parquet``: one object a shard at the end of pass 3 (``schemas.columns.tokens``); in ``text/`` if the
  run writes text;
- ``jsonl/SHARD.jsonl.zst``: the same rows as JSON Lines, if a run that writes text is asked for them;
- ``deaths/SHARD.SIGNAL.ID.json``: a note for each worker that a shard has killed;
- ``README.md``: a card for Hugging Face's ``load_dataset``;
- ``run.json``: the manifest, last.

The command ``dedup`` writes ``decisions/SHARD.parquet`` (``schemas.columns.DECIDED``), ``counts.json`` while it works,
and ``dedup.json``, its manifest, last.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

OWN_NAMES = frozenset(
    {
        "plan.json", "sources.parquet", "run.json", "deduplication_audit.parquet", "fingerprints", "tokens", "text",
        "rest", "jsonl", "deaths", "decisions", "earlier", "dedup.json", "counts.json", "README.md",
    }
)  # fmt: skip
"""All names that a run, ``dedup`` or ``extract`` gives directly below its output."""

SHARD_OBJECT = re.compile(r"(\d{7,})-\d{5,}\.(?:parquet|jsonl\.zst)")
"""The name of a shard's object; the group is the number of its source."""


def is_own(name: str) -> bool:
    """Whether a run, ``dedup`` or ``extract`` writes an object of this name below its output.

    ``text/``, ``rest/`` and ``jsonl/`` may well be folders of the user's: there only the objects of shards are ours.

    Args:
      name: relative to the output, such as ``tokens/0000000-00000.parquet``.
    """
    first, _, rest = name.partition("/")
    return first in OWN_NAMES and (first not in ("text", "rest", "jsonl") or SHARD_OBJECT.fullmatch(rest) is not None)


SETTINGS = b"beam_pipeline.settings"
"""Entry of an object's footer: the hash of all that decides its contents."""
ETAG = b"beam_pipeline.etag"
"""Entry of an object's footer: its source's ETag; of a packed shard, ``schemas.shards.etags_digest``."""
FIRST_ROW = b"beam_pipeline.first_row"
"""Entry of an object's footer: row of the shard's first document in its source."""
SOURCES = b"beam_pipeline.sources"
"""Entry of a packed shard's footer: how many sources it has."""
ERROR = b"beam_pipeline.error"
"""Entry of an object's footer: why its shard can't be read; empty if it can."""
CENSUS = b"beam_pipeline.census"
"""Entry of a packed shard's fingerprints: what each of its sources has."""
NOTES = b"beam_pipeline.notes"
"""Entry of a shard's fingerprints: what the boxes of pass 1 noted, as JSON."""
PARENT = b"beam_pipeline.parent"
"""Entry of a fingerprint object that refers to another one: its URI."""


@dataclasses.dataclass(frozen=True)
class RunLayout:
    """Where everything of a run is.

    Attributes:
      output: folder or prefix.

    Example:
      >>> RunLayout("s3://bucket/out").tokens
      's3://bucket/out/tokens'
    """

    output: str

    def _below(self, *names: str) -> str:
        return "/".join([self.output.rstrip("/") or self.output, *names])

    @property
    def plan(self) -> str:
        """The stored plan (``StoredPlan``)."""
        return self._below("plan.json")

    @property
    def sources(self) -> str:
        """The pinned sources."""
        return self._below("sources.parquet")

    @property
    def fingerprints(self) -> str:
        """The folder of the objects of pass 1."""
        return self._below("fingerprints")

    @property
    def earlier(self) -> str:
        """The folder of what a run of a corpus drops for earlier runs."""
        return self._below("earlier")

    @property
    def tokens(self) -> str:
        """The folder of the objects of pass 3."""
        return self._below("tokens")

    def kept(self, deciding: Deciding) -> str:
        """The folder of the objects of pass 3: ``tokens``, or ``text`` of a run that writes text."""
        return self.tokens if deciding.writes_tokens else self._below("text")

    @property
    def lines(self) -> str:
        """The folder of the JSON Lines of a run that writes text."""
        return self._below("jsonl")

    @property
    def card(self) -> str:
        """The card for Hugging Face's ``load_dataset``."""
        return self._below("README.md")

    @property
    def deaths(self) -> str:
        """The folder of the notes of workers that were killed."""
        return self._below("deaths")

    @property
    def audit(self) -> str:
        """The audit of the deduplication."""
        return self._below("deduplication_audit.parquet")

    @property
    def manifest(self) -> str:
        """The manifest of a finished run."""
        return self._below("run.json")

    @property
    def decisions(self) -> str:
        """The folder of what ``dedup`` has decided."""
        return self._below("decisions")

    @property
    def dedup_counts(self) -> str:
        """What the workers of ``dedup`` have counted, until it goes into the manifest."""
        return self._below("counts.json")

    @property
    def dedup_manifest(self) -> str:
        """The manifest of ``dedup``."""
        return self._below("dedup.json")

    def fingerprints_of(self, shard: str) -> str:
        """The fingerprint object of a shard, by its name."""
        return self._below("fingerprints", f"{shard}.parquet")


@dataclasses.dataclass(frozen=True)
class Deciding:
    """All that decides the results of a run, by the objects that it decides; JSON values.

    Attributes:
      fingerprints: what decides the objects of pass 1.
      tokens: what, beside that, decides the objects of pass 3.
    """

    fingerprints: Mapping[str, Any]
    tokens: Mapping[str, Any]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Deciding:
        """What ``as_json`` has made."""
        return cls(dict(stored["fingerprints"]), dict(stored["tokens"]))

    def as_json(self) -> dict[str, Any]:
        """As it stands in ``plan.json``."""
        return {"fingerprints": dict(self.fingerprints), "tokens": dict(self.tokens)}

    @property
    def fingerprints_hash(self) -> str:
        """SHA-256 of what decides the fingerprints."""
        return stable_hash(dict(self.fingerprints))

    @property
    def settings_hash(self) -> str:
        """SHA-256 of all that decides the results."""
        return stable_hash(self.as_json())

    @property
    def writes_tokens(self) -> bool:
        """Whether the objects of pass 3 have tokens; else they have text."""
        return bool(self.tokens["tokens"])

    @property
    def step_code(self) -> Mapping[str, str]:
        """SHA-256 of the files of the user's own steps, by module."""
        return dict(self.fingerprints.get("step_code", {}))

    def with_step_code(self, code: Mapping[str, str]) -> Deciding:
        """The same, but for the code of the user's steps."""
        others = {name: value for name, value in self.fingerprints.items() if name != "step_code"}
        return dataclasses.replace(self, fingerprints=others | ({"step_code": dict(code)} if code else {}))

    @property
    def corpus(self) -> Mapping[str, Any] | None:
        """Of a run of a corpus, the corpus's id and the run's ``number`` in it."""
        found: Mapping[str, Any] | None = self.tokens.get("corpus")
        return found

    def in_corpus(self, corpus: str, number: int) -> Deciding:
        """The same, of a run of a corpus: what it drops depends on the runs before."""
        return dataclasses.replace(self, tokens={**self.tokens, "corpus": {"corpus": corpus, "number": number}})

    @property
    def format(self) -> int:
        """Version of the bytes that the same settings give."""
        return int(self.fingerprints["format"])

    @property
    def sources_sha256(self) -> str:
        """Of all that names and pins the sources."""
        return str(self.tokens["sources_sha256"])

    @property
    def tokenizer_sha256(self) -> str:
        """Of the tokenizer's file."""
        return str(self.tokens["tokenizer_sha256"])


@dataclasses.dataclass(frozen=True)
class StoredPlan:
    """The contents of ``plan.json``; plans of earlier versions lack some of them.

    Attributes:
      run: the run's id (UUID).
      created: ISO 8601, UTC.
      deciding: all that decides its results.
      code_version: of the package.
      settings: all settings of the run, by name.
      outcomes: what can become of a document, as ``schemas.outcomes.Outcomes.as_json`` gives it.
      lineage_dsn: where the lineage is; no password.
      parent: of a run that decides another one again, ``run`` and ``output`` of that.
    """

    run: str
    created: str
    deciding: Deciding
    code_version: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    outcomes: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    lineage_dsn: str = ""
    parent: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def decode(cls, data: bytes) -> StoredPlan:
        """The plan in the bytes of ``plan.json``.

        Raises:
          ValueError: it is cut short, or isn't a plan.
        """
        try:
            stored = json.loads(data)
            values = {field.name: stored[field.name] for field in dataclasses.fields(cls) if field.name in stored}
            return cls(**values | {"deciding": Deciding.from_json(stored["deciding"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"isn't the plan of a run: {error!r}") from error

    def encode(self) -> bytes:
        """The bytes of ``plan.json``."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return json.dumps(values | {"deciding": self.deciding.as_json()}, indent=2).encode()


def stable_hash(value: Any) -> str:
    """SHA-256 (hex) of a JSON value, the same for equal values whatever their order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
