"""The finished runs of an export: where their token objects are, and what tokens stand around their documents."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

import tokenizers

from beam_pipeline.finished_runs import FinishedRun, finished_run, read_json
from schemas.errors import WRONG_USAGE, ToldError
from schemas.exports import PLAN
from schemas.run_layout import RunLayout, stable_hash
from transforms.io import storage
from transforms.io.pinned_files import PinnedFile, PinnedFileChanged
from transforms.kernels.export.copying import NONE


class NotExportable(ToldError):
    """An export can't be made like this; nothing was done."""

    exit_status = WRONG_USAGE


@dataclasses.dataclass(frozen=True)
class ExportedRun:
    """A run of an export.

    Attributes:
      run: its id.
      output: of the run.
      settings_hash: of its token objects.
      decisions_uri: objects that say which documents stay; empty: all that the run kept.
      decisions_hash: changes when the decisions do.
      tokenizer_sha256: of the file.
      tokenizer: its URI.
      bos, eos: the tokens that stand around its documents, if any.
    """

    run: str
    output: str
    settings_hash: str
    decisions_uri: str
    decisions_hash: str
    tokenizer_sha256: str
    tokenizer: str
    bos: str | None
    eos: str | None

    @property
    def tokens_uri(self) -> str:
        """Where its token objects are."""
        return RunLayout(self.output).tokens

    @property
    def sources_uri(self) -> str:
        """Where its sources are listed."""
        return RunLayout(self.output).sources

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return dataclasses.asdict(self)

    def objects(self) -> list[storage.ObjectInfo]:
        """Its token objects, by name.

        Raises:
          NotExportable: there are none.
        """
        try:
            found = sorted(storage.list_objects(self.tokens_uri), key=lambda info: info.uri)
        except storage.NotFound as error:
            raise NotExportable(f"run: {self.output} has no token objects: {error}") from error
        return [info for info in found if PurePosixPath(info.uri).suffix == ".parquet"]


def exported_runs(outputs: Sequence[str], decisions: Sequence[str]) -> list[ExportedRun]:
    """The runs, in the order in which they are named; that is their position in the export.

    Raises:
      NotExportable: one isn't finished, is named twice, or has another tokenizer; decisions are of another run.
    """
    try:
        found = [finished_run(output) for output in outputs]
        decided = {run.output: run for run in map(finished_run, decisions)}
    except ToldError as error:
        raise NotExportable(str(error)) from error
    runs = [_of(decided.pop(run.output, run)) for run in found]
    if decided:
        raise NotExportable(
            f"decisions: they are on {next(iter(decided))}, which isn't one of the runs; name it by --run"
        )
    for index, run in enumerate(runs):
        if run.output in [earlier.output for earlier in runs[:index]]:
            raise NotExportable(
                f"run: {run.output} is named twice; a mixture's epochs say how often to take a document"
            )
        if run.tokenizer_sha256 != runs[0].tokenizer_sha256:
            raise NotExportable(
                f"run: {run.output} was made with another tokenizer than {runs[0].output}: their ids mean other tokens"
            )
    return runs


def _of(run: FinishedRun) -> ExportedRun:
    settings, deciding = run.plan.settings, run.plan.deciding
    made = deciding.tokens
    if not deciding.writes_tokens:
        raise NotExportable(f"run: {run.output} has written text, no tokens; run it with --tokenizer to export tokens")
    decisions = "" if run.kept_uri == run.layout.kept(deciding) else run.kept_uri
    decided: Any = None
    if decisions:
        parent = str(PurePosixPath(decisions).parent) if "://" not in decisions else decisions.rpartition("/")[0]
        decided = read_json(RunLayout(parent).dedup_manifest)
        decided = {key: value for key, value in (decided or {}).items() if key not in ("finished", "wall_seconds")}
    return ExportedRun(
        run=run.plan.run,
        output=run.output,
        settings_hash=deciding.settings_hash,
        decisions_uri=decisions,
        decisions_hash=stable_hash(decided) if decisions else "",
        tokenizer_sha256=deciding.tokenizer_sha256,
        tokenizer=settings["tokenizer"],
        bos=made["bos"],
        eos=made["eos"],
    )


@dataclasses.dataclass(frozen=True)
class Around:
    """Ids of the tokens around the documents, for each run; -1: none (``transforms.export.options``)."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    pad: int


def tokens_around(runs: Sequence[ExportedRun], bos: str, eos: str, pad: str, needs_end: bool) -> Around:
    """What is put around documents so that all begin with ``bos`` and end with ``eos``, whatever their runs wrote.

    Raises:
      NotExportable: a run ends documents with another token; nothing tells where documents end; no such token.
    """
    ids = _Ids(runs)
    begins, ends = ([ids.of(getattr(run, name), name) for run in runs] for name in ("bos", "eos"))
    first, last, filling = ids.of(bos, "bos"), ids.of(eos, "eos"), ids.of(pad, "pad")
    before = tuple(_missing(first, has, "bos", run) for has, run in zip(begins, runs, strict=True))
    after = tuple(_missing(last, has, "eos", run) for has, run in zip(ends, runs, strict=True))
    if needs_end and any(has == NONE and added == NONE for has, added in zip(ends, after, strict=True)):
        raise NotExportable(
            "eos: this format has nothing but a token to tell where a document ends, and a run has written none; "
            "give --eos TOKEN, such as '<|endoftext|>'"
        )
    return Around(before, after, tuple(begins), tuple(ends), filling)


def _missing(wanted: int, has: int, setting: str, run: ExportedRun) -> int:
    """The id to add to what a run has written, or none."""
    if wanted != NONE and has not in (NONE, wanted):
        raise NotExportable(f"{setting}: {run.output} has written token {has} around its documents, not {wanted}")
    return NONE if has != NONE else wanted


class _Ids:
    """Ids of tokens by their names or as numbers; the tokenizer's file is read when the first name is asked for."""

    def __init__(self, runs: Sequence[ExportedRun]) -> None:
        self._runs = runs
        self._tokenizer: tokenizers.Tokenizer | None = None

    def of(self, token: str | None, setting: str) -> int:
        if not token:
            return NONE
        if self._tokenizer is None:
            self._tokenizer = _tokenizer(self._runs)
        found = int(token) if token.isdecimal() else self._tokenizer.token_to_id(token)
        if found is None or self._tokenizer.id_to_token(found) is None:
            raise NotExportable(f"{setting}: the runs' tokenizer has no token {token!r}")
        return int(found)


def _tokenizer(runs: Iterable[ExportedRun]) -> tokenizers.Tokenizer:
    """The runs' tokenizer, from the first place where its file still is what it was."""
    tried = []
    for run in runs:
        try:
            return tokenizers.Tokenizer.from_buffer(PinnedFile(run.tokenizer, run.tokenizer_sha256).read())
        except (storage.StorageError, PinnedFileChanged) as error:
            tried.append(str(error))
    raise NotExportable(f"tokenizer: {'; '.join(tried)}; put the file back")


def read_plan(output: str) -> dict[str, Any]:
    """The plan of an export.

    Raises:
      NotExportable: there is none.
    """
    uri = storage.join(output, PLAN)
    try:
        found = json.loads(storage.read_bytes(uri))
        if found["kind"] == "export":
            return dict(found)
    except (storage.NotFound, ValueError, KeyError, TypeError):
        pass
    raise NotExportable(f"export: {output} isn't an export: {uri} isn't the plan of one")
