"""The plan of a run: what it will do, pinned and stored before any work starts.

``schemas.run_layout`` says where it is stored. Of two commands that begin at the same instant, one stores its plan, and
the other goes on with it or is refused. The same command over the same output finds the plan and goes on; with anything
different that decides results, it is refused.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from beam_pipeline import preflight, supervision
from beam_pipeline.decided_run import DecidesAgain
from beam_pipeline.document_estimate import estimate_documents
from beam_pipeline.planned_sources import PlanError, differing_sources, hash_of, is_listed, list_sources, write_sources
from beam_pipeline.planned_tokenizer import plan_tokenization
from beam_pipeline.rehearsal import rehearse
from beam_pipeline.settings import Settings
from beam_pipeline.version import FORMAT, __version__
from schemas import columns
from schemas.fingerprint_index import FingerprintIndex
from schemas.outcomes import Outcomes
from schemas.run_layout import Deciding, RunLayout, StoredPlan
from schemas.shards import Source
from transforms.decide_again import Parent
from transforms.deduplication.deduplicate import Deduplication
from transforms.deduplication.stored_fingerprints import StoredFingerprints, StoredRun
from transforms.edit import Editing
from transforms.io import storage
from transforms.io.deaths import Deaths
from transforms.io.kept_columns import KeptColumn
from transforms.io.pinned_files import PinnedFile
from transforms.io.readers import ReadOptions, check
from transforms.io.source_list import read_sources
from transforms.io.stage_objects import StageObjects, stranger_in
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.text.normalization import UNICODE_VERSION
from transforms.options import names
from transforms.recipe.spec import PlannedRecipe
from transforms.recipe.user_code import code_of
from transforms.tokenize import Tokenization

LOGGER = logging.getLogger(__name__)

_SAME = ("format", "unicode", "near_duplicates", *names(MinHash))
_SAME_DECISIONS = ("min_similarity", "duplicates_within")


def same_names(duplicates_within: str) -> tuple[str, ...]:
    """What of ``Deciding.fingerprints`` two runs must have in common for their fingerprints to be comparable."""
    return (*_SAME, "language_model_sha256") if duplicates_within == "language" else _SAME


def comparable(deciding: Deciding) -> dict[str, Any]:
    """What the runs of a corpus have in common: their fingerprints, and which pairs are duplicates."""
    same = same_names(deciding.tokens["duplicates_within"])
    return {name: deciding.fingerprints.get(name) for name in same} | {
        name: deciding.tokens.get(name) for name in _SAME_DECISIONS
    }


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run that is ready to be carried out.

    Attributes:
      run: its id (UUID).
      created: ISO 8601, UTC.
      deciding: everything that decides the results; the hash of it is the run's settings hash.
      documents: about how many there are; the shuffles are sized by it.
      tokenization: how texts become tokens; None if text is written.
      columns: the source columns that are kept.
      recipe: the steps that say what is good data.
      lineage_dsn: where the workers find PostgreSQL; no password.
      resumed: whether the plan was there already.
      prediction: what ``--plan`` has said about this run, if the settings name it.
      parent: the run that this one decides again (``transforms.decide_again``), if it does that.
      index: of a run of a corpus, what it is held against.
    """

    run: str
    created: str
    settings: Settings
    deciding: Deciding
    sources: int
    source_bytes: int
    documents: int
    language_model: PinnedFile
    tokenization: Tokenization | None
    id_type: pa.DataType | None
    columns: tuple[KeptColumn, ...]
    recipe: PlannedRecipe
    lineage_dsn: str
    resumed: bool
    prediction: dict[str, Any] | None
    parent: Parent | None = None
    index: FingerprintIndex | None = None

    @property
    def layout(self) -> RunLayout:
        """Where everything of the run is."""
        return RunLayout(self.settings.output)

    @property
    def settings_hash(self) -> str:
        """SHA-256 of all that decides the results."""
        return self.deciding.settings_hash

    @property
    def fingerprints(self) -> StageObjects:
        """The objects of pass 1."""
        return StageObjects(self.layout.fingerprints, self.deciding.fingerprints_hash)

    @property
    def tokens(self) -> StageObjects:
        """The objects of pass 3: tokens, or text."""
        lines = self.layout.lines if self.settings.text_jsonl else ""
        return StageObjects(self.layout.kept(self.deciding), self.settings_hash, lines)

    @property
    def stored_fingerprints(self) -> StoredFingerprints:
        """The objects of pass 1, as pass 2 reads them."""
        earlier = self.layout.earlier if self.index else ""
        return StoredFingerprints(
            (StoredRun(self.fingerprints.uri, sources_uri=self.layout.sources, earlier_uri=earlier),)
        )

    @property
    def deaths(self) -> Deaths:
        """Which shards have killed their workers."""
        return Deaths(self.layout.deaths, self.settings.max_deaths)

    @property
    def reading(self) -> ReadOptions:
        """How pass 1 reads the sources."""
        return dataclasses.replace(self.settings.reading(), columns=self.columns)

    @property
    def stored_fields(self) -> tuple[pa.Field, ...]:
        """The kept columns and the attributes, as they stand in the fingerprints."""
        return (*(column.field for column in self.columns), *self.recipe.attributes)

    @property
    def token_schema(self) -> pa.Schema:
        """The columns of the token objects."""
        chosen = token_fields(self.settings, self.stored_fields)
        return columns.tokens(self.id_type, self.settings.with_text, chosen)

    @property
    def columns_of_pass_3(self) -> tuple[str, ...]:
        """The stored columns that editors see or token objects have."""
        of_editors = [column.name for column in self.columns if self.recipe.editors]
        return tuple(dict.fromkeys([*of_editors, *self.settings.token_columns]))

    @property
    def editing(self) -> Editing:
        """How a text becomes the one that was fingerprinted."""
        kept = tuple(column.name for column in self.columns)
        return Editing(self.recipe.editors, self.outcomes, kept, self.fingerprints)

    @property
    def outcomes(self) -> Outcomes:
        """What can become of a document in this run."""
        return self.recipe.outcomes

    @property
    def deduplication(self) -> Deduplication:
        """The options of pass 2, its shuffles sized for the run."""
        return self.settings.deduplication(self.documents)


@dataclasses.dataclass(frozen=True)
class Member:
    """What a corpus gives one of its runs.

    Attributes:
      corpus: the corpus's id.
      number: of the run in it.
      sources: those that the run has claimed.
      index: what earlier runs have kept.
      proven: an earlier run has found its texts by the same columns.
    """

    corpus: str
    number: int
    sources: Sequence[Source]
    index: FingerprintIndex
    proven: bool = False

    def refuse_others(self, deciding: Deciding) -> None:
        """A run can be held against the index only if its fingerprints are of the same kind.

        Raises:
          PlanError: something differs.
        """
        there, now = self.index.comparable, comparable(deciding)
        for name in sorted(there.keys() | now.keys() if there else ()):
            if there.get(name) != now.get(name):
                raise PlanError(
                    f"{name}: the corpus has {there.get(name)!r}, but now it is {now.get(name)!r}. Give what "
                    "the corpus has, or begin another corpus"
                )


def make_plan(
    settings: Settings, lineage_dsn: str, decides: DecidesAgain | None = None, member: Member | None = None
) -> Plan:
    """Checks everything that can be checked before work starts, pins the sources and stores the plan.

    Args:
      decides: a run that is decided again, whose sources these are.
      member: of a run of a corpus, its sources and what it is held against.

    Raises:
      PlanError: a source or tokenizer can't be used; the output belongs to a run that differs.
      UnusableSettings: settings can't work with this language model or these sources.
      StorageError: the store refuses.
    """
    if member:
        sources = list(member.sources)
    else:
        sources = list(read_sources(decides.sources_uri)) if decides else list_sources(settings)
    language_model = PinnedFile.pin(settings.language_model)
    tokenization = plan_tokenization(settings)
    try:
        id_type = dataclasses.replace(tokenization, fast_tokenizer=False).load().id_type if tokenization else None
    except ValueError as error:
        raise PlanError(f"tokenizer {settings.tokenizer}: {error}") from error
    preflight.check_languages(settings, language_model)
    proven = member is not None and member.proven
    kept = preflight.check_columns(sources, settings.first_reading(), settings.named_id_column(), proven=proven)
    recipe = plan_recipe(settings, kept)
    token_fields(settings, (*(column.field for column in kept), *recipe.attributes))
    preflight.check_rank(settings.keep_duplicate, (*(column.field for column in kept), *recipe.attributes))
    if settings.check_steps and not decides:
        rehearse(settings, recipe, kept, sources, language_model)
    deciding = _deciding(settings, sources, language_model, tokenization, recipe, kept)
    if member:
        member.refuse_others(deciding)
        deciding = deciding.in_corpus(member.corpus, member.number)
    if decides:
        decides.refuse_other_files(deciding)
    prediction = _read_prediction(settings.prediction) if settings.prediction else None
    layout = RunLayout(settings.output)
    stored, resumed = read_plan(settings.output), True
    if stored is not None and settings.ignore_code_changes:
        deciding = deciding.with_step_code(stored.deciding.step_code)
    if stored is None:
        _refuse_strangers(layout, deciding)
        if settings.strict:
            _refuse_unreadable(sources, settings)
        stored, resumed = _store(settings, deciding, recipe, lineage_dsn, decides)
    if resumed:
        _refuse_differences(stored, deciding, sources, layout)
    plan = Plan(
        run=stored.run,
        created=stored.created,
        settings=settings,
        deciding=deciding,
        sources=len(sources),
        source_bytes=sum(source.size for source in sources),
        documents=decides.documents if decides else estimate_documents(sources, settings.reading()),
        language_model=language_model,
        tokenization=tokenization,
        id_type=id_type,
        columns=kept,
        recipe=recipe,
        lineage_dsn=lineage_dsn,
        resumed=resumed,
        prediction=prediction,
        parent=_with_steps(decides, kept) if decides else None,
        index=member.index if member and member.index.segments else None,
    )
    if not resumed or not is_listed(layout.sources, deciding.sources_sha256):
        write_sources(layout.sources, sources, settings.reading().shard_bytes)
    return plan


def _with_steps(decides: DecidesAgain, kept: Sequence[KeptColumn]) -> Parent:
    """The parent with its steps, which are imported here."""
    return dataclasses.replace(decides.parent, steps=plan_recipe(decides.settings, kept).steps)


def token_fields(settings: Settings, stored: Sequence[pa.Field]) -> list[pa.Field]:
    """The kept columns and attributes that token objects have.

    Raises:
      PlanError: ``token_columns`` names one that there isn't, or that token objects have of their own.
    """
    own = columns.tokens(pa.uint32(), True).names
    known = {field.name: field for field in stored}
    for name in settings.token_columns:
        if name in own:
            raise PlanError(
                f"token_columns: token files have a column {name!r} themselves; keep yours under another name, "
                f"as in --keep_columns '{name} as source_{name}'"
            )
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "keep_columns and the recipe add none"
            raise PlanError(f"token_columns: there is no kept column or attribute {name!r}; {there}")
    return [known[name] for name in settings.token_columns]


def plan_recipe(settings: Settings, kept: Sequence[KeptColumn] = ()) -> PlannedRecipe:
    """The recipe of a run; its steps are imported here.

    Raises:
      PlanError: a step can't be imported, or the steps don't go together.
    """
    try:
        return PlannedRecipe.of(settings.steps(), [column.field for column in kept])
    except ValueError as error:
        raise PlanError(str(error)) from error


def read_plan(output: str) -> StoredPlan | None:
    """The plan under an output; None if there is none, or what is there was cut short, which is told."""
    uri = RunLayout(output).plan
    if storage.stat(uri) is None:
        return None
    try:
        return StoredPlan.decode(storage.read_bytes(uri))
    except ValueError:
        LOGGER.warning("%s: is cut short or damaged; running the pipeline again makes it again", uri)
        return None


def _store(
    settings: Settings, deciding: Deciding, recipe: PlannedRecipe, lineage_dsn: str, decides: DecidesAgain | None
) -> tuple[StoredPlan, bool]:
    """Stores a new plan; or finds the one that another command has stored meanwhile, and says so with True."""
    plan = StoredPlan(
        run=str(uuid.uuid4()),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        code_version=__version__,
        settings=settings.model_dump(mode="json"),
        deciding=deciding,
        outcomes=recipe.outcomes.as_json(),
        lineage_dsn=lineage_dsn,
        parent={"run": decides.parent.run, "output": decides.parent.output} if decides else {},
    )
    uri = RunLayout(settings.output).plan
    if storage.create(uri, plan.encode()):
        return plan, False
    stored = read_plan(settings.output)
    if stored is not None:
        return stored, True
    storage.write(uri, plan.encode())  # what is there can't be read
    return plan, False


def _deciding(
    settings: Settings,
    sources: list[Source],
    language_model: PinnedFile,
    tokenization: Tokenization | None,
    recipe: PlannedRecipe,
    kept: Sequence[KeptColumn],
) -> Deciding:
    """All that decides results, by pass: nothing about where things are or how fast they're done."""
    own, later = settings.deciding("fingerprints"), settings.deciding("tokens")
    if tokenization is not None:
        later |= {"eos": tokenization.eos, "tokenizer_sha256": tokenization.tokenizer.sha256}
    else:
        later = {name: value for name, value in later.items() if name not in ("bos", "eos", "with_text")}
    if not settings.text_jsonl:
        del later["text_jsonl"]
    if tokenization is not None and settings.max_unknown_tokens is not None:  # then pass 1 looks at tokens, too
        own["tokenizer_sha256"] = tokenization.tokenizer.sha256
    deciding = Deciding(
        fingerprints=own
        | {"reasons": recipe.reasons, "attributes": [str(field) for field in recipe.attributes]}
        | ({"recipe_files": recipe.read_in} if recipe.read_in else {})
        | {"columns": [str(column.field) for column in kept]}
        | {"format": FORMAT, "unicode": UNICODE_VERSION, "language_model_sha256": language_model.sha256},
        tokens=later | {"sources_sha256": hash_of(sources)},
    )
    return deciding.with_step_code(code_of(recipe.steps))


def _differing_code(stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Which modules of the user's steps were changed, one line each."""
    changes = []
    for module in sorted(stored.keys() | now.keys()):
        if stored.get(module) != now.get(module):
            how = "was added" if module not in stored else "is gone" if module not in now else "was changed"
            changes.append(
                f"  the code of the recipe's steps: module {module} {how} since the run began "
                "(--ignore_code_changes goes on; what is done stays as it is)"
            )
    return changes


def _refuse_strangers(layout: RunLayout, deciding: Deciding) -> None:
    """Without a plan, what stands under the output must be this run's: trainers read all that is under ``tokens/``."""
    for folder, expected in (
        (layout.fingerprints, deciding.fingerprints_hash),
        (layout.kept(deciding), deciding.settings_hash),
    ):
        if strange := stranger_in(folder, expected):
            raise PlanError(
                f"output: {strange} is of another run or of other settings, and there is no plan of it. "
                f"Remove {folder}, or choose another output"
            )


def _read_prediction(uri: str) -> dict[str, Any]:
    try:
        found = json.loads(storage.read_bytes(uri))
    except ValueError as error:
        raise PlanError(f"prediction {uri}: isn't what --plan prints ({error})") from error
    if not isinstance(found, dict) or "documents" not in found:
        raise PlanError(f"prediction {uri}: isn't what --plan prints")
    return found


def _refuse_differences(stored: StoredPlan, deciding: Deciding, sources: list[Source], layout: RunLayout) -> None:
    there, asked = stored.deciding.as_json(), deciding.as_json()
    differences = [
        f"  {name}: {there[part].get(name)!r} there, {now.get(name)!r} now"
        for part, now in asked.items()
        for name in sorted(now.keys() | there[part].keys())
        if now.get(name) != there[part].get(name) and name not in ("sources_sha256", "step_code")
    ]
    differences += _differing_code(stored.deciding.step_code, deciding.step_code)
    if stored.deciding.sources_sha256 != deciding.sources_sha256:
        differences += differing_sources(layout.sources, sources)
    if differences:
        shown = "\n".join(differences[:20] + ([f"  ... and {len(differences) - 20} more"] * (len(differences) > 20)))
        raise PlanError(
            f"output: {layout.output} holds run {stored.run}, which differs from what is asked for now:\n{shown}\n"
            "Go on with the settings and sources of that run, or choose another output."
        )


def _refuse_unreadable(sources: list[Source], settings: Settings) -> None:
    """Reads everything once: the price of knowing before anything is written (400 MB/s a core)."""
    faults = []
    for source in sources:
        supervision.reading(source.uri)
        if reason := check(source, settings.reading()):
            faults.append(f"  {source.uri}: {reason}")
    if faults:
        raise PlanError("strict: these sources can't be read, nothing was written:\n" + "\n".join(faults))
