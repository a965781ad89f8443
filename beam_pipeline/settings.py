"""Every setting of a run, with its default and what it means: one flag and one YAML key each.

Each setting says which objects it decides. One that decides nothing can change how a run is carried out, never what it
produces. All others go into the hash under which objects are stored, and a run is continued only with the same ones.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pydantic
import yaml
from pydantic import Field

from beam_pipeline import recipes
from beam_pipeline.prices import Prices
from schemas.columns import FINGERPRINTS
from transforms.io import storage
from transforms.io.pinned_files import DEFAULT_LANGUAGE_MODEL
from transforms.kernels.text.options import DEFAULT as NORMALIZATION
from transforms.kernels.text.options import DROPPABLE, Normalization
from transforms.recipe.spec import StepSpec
from transforms.recipe.steps import RESERVED

if TYPE_CHECKING:  # they bring Beam and the kernels, a second that --help doesn't need: methods import them
    from transforms.io.readers import ReadOptions
    from transforms.io.readers.kept_columns import KeptColumn
    from transforms.kernels.deduplication.candidates import Deduplication
    from transforms.kernels.deduplication.fingerprinting import MinHash
    from transforms.kernels.language.options import LanguageIdentification

NO_EOS = "none"
"""The value of ``eos`` that puts no token after documents."""

OF_NEAR_DUPLICATES = (
    "min_similarity", "keep_duplicate",
    "shingle_size", "bands", "rows", "signature_size", "fold_digits", "fold_accents",
)  # fmt: skip
"""Settings without effect where only exact copies are looked for, of which the first stays."""

GROUPS = {
    "input and output": "Where the text is and where everything about the run goes. Local paths or s3:// URIs.",
    "normalization": "What is changed in texts; the defaults change no meaning (docs/normalization.md).",
    "language": "Language identification with a fastText model.",
    "filters": "Which documents stay. Every drop carries its filter's reason.",
    "deduplication": "Exact and near-duplicate removal; the defaults find a pair at similarity 0.8 with p = 0.92.",
    "tokens": "What is written of the documents kept.",
    "cost": "Prices for the cost in run.json, in any one currency; the defaults are AWS S3 Standard's in dollars.",
    "lineage": "Where PostgreSQL is. Credentials come from libpq's environment (PGPASSWORD, PGPASSFILE, ...).",
}


def _split_commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _all_absolute(uris: list[str]) -> list[str]:
    return [storage.absolute(uri) for uri in uris]


def _place(uri: str) -> str:
    return uri and storage.absolute(uri)


def _model_place(uri: str) -> str:
    return uri if uri == DEFAULT_LANGUAGE_MODEL else storage.absolute(uri)


def _split_scores(value: Any) -> Any:
    """``de=0.5,en=0.3`` as a mapping."""
    if not isinstance(value, str):
        return value
    return dict(part.strip().split("=", 1) for part in value.split(",") if "=" in part or _refuse_score(part))


def _read_recipe(value: Any) -> Any:
    """A recipe as it stands in the settings, one that ships with the package, or one in a YAML file."""
    if not isinstance(value, str):
        return value
    shipped = recipes.text_of(value)
    try:
        found = yaml.safe_load(storage.read_bytes(storage.absolute(value)) if shipped is None else shipped)
    except (yaml.YAMLError, storage.StorageError) as error:
        raise ValueError(f"{value}: {error}") from error
    steps = found.get("recipe") if isinstance(found, dict) else found
    if not isinstance(steps, list):
        raise ValueError(f"{value}: expected a list of steps, or one under the key `recipe`")
    return steps


def _refuse_score(part: str) -> bool:
    raise ValueError(f"{part!r} is not of the form LABEL=SCORE")


Decides = Literal["fingerprints", "tokens", "nothing"]
"""Which objects a setting decides, as ``schemas.run_layout.Deciding`` has them; nothing: how a run is carried out."""


def _setting(
    group: str, default: Any = ..., *, decides: Decides = "fingerprints", metavar: str = "", **constraints: Any
) -> Any:
    extra: dict[str, Any] = {"group": group, "decides": decides, "metavar": metavar}
    if "default_factory" in constraints:
        return Field(json_schema_extra=extra, **constraints)
    return Field(default, json_schema_extra=extra, **constraints)


def _class_names(names: list[str]) -> list[str]:
    """In one order, so that the order in which they are given changes nothing."""
    return [name for name in DROPPABLE if name in names] + [name for name in names if name not in DROPPABLE]


class NormalizationSettings(pydantic.BaseModel):
    """How texts are normalized: one setting for each option of ``Normalization``, whose defaults they have."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    normalize_drop: Annotated[
        list[str], pydantic.BeforeValidator(_split_commas), pydantic.AfterValidator(_class_names)
    ] = _setting(
        "normalization",
        default_factory=lambda: list(NORMALIZATION.drop),
        metavar="A,B",
        description=f"characters that go, any of {', '.join(DROPPABLE)}; '' for none",
    )
    normalize_trim: bool = _setting(
        "normalization", NORMALIZATION.trim, description="drop blank lines at the beginning, white space at the end"
    )
    normalize_line_ends: Literal["keep", "uniform", "all"] = _setting(
        "normalization",
        NORMALIZATION.line_ends,
        metavar="keep|uniform|all",
        description="what becomes LF: CR LF or CR where a text uses nothing else (uniform), or every line separator",
    )
    normalize_nfc: bool = _setting("normalization", NORMALIZATION.nfc, description="Unicode normalization form C")
    normalize_strip_lines: bool = _setting(
        "normalization", NORMALIZATION.strip_lines, description="drop white space at the end of lines"
    )
    normalize_max_blanks: int = _setting(
        "normalization",
        NORMALIZATION.max_blanks,
        ge=0,
        metavar="N",
        description="longest run of blanks within a line; tabs and indentation stay; 0: any",
    )
    normalize_max_blank_lines: int = _setting(
        "normalization", NORMALIZATION.max_blank_lines, ge=0, metavar="N", description="empty lines in a row; 0: any"
    )

    @pydantic.model_validator(mode="after")
    def _build_normalization(self) -> Self:
        """The options check themselves when they are built: do it before any work."""
        self.normalization()
        return self

    def normalization(self) -> Normalization:
        """How texts are normalized."""
        prefix = "normalize_"
        options = {name: getattr(self, name) for name in NormalizationSettings.model_fields}
        return Normalization(**{name.removeprefix(prefix): _frozen(value) for name, value in options.items()})


def _one_line(value: Any) -> Any:
    """``{best: edu}`` of YAML as ``best: edu``, as a flag has it; refuses what is no way to choose a duplicate."""
    if isinstance(value, dict) and len(value) == 1:
        [(word, name)] = value.items()
        value = f"{word}:{name}"
    if isinstance(value, str) and ":" in value:
        word, _, name = value.partition(":")
        value = f"{word.strip()}: {name.strip()}"
    if isinstance(value, str) and not re.fullmatch("first|longest|best: .+", value):
        raise ValueError("must be first, longest or 'best: NAME'")
    return value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def own_columns(
    inputs: Mapping[str, Mapping[str, str]], text_column: str, id_column: str
) -> tuple[tuple[str, str, str, str], ...]:
    """Inputs with options of their own (``input_columns``) as ``ReadOptions.of_inputs`` takes them."""
    return tuple(
        (place, own.get("text_column", text_column), own.get("id_column", id_column), own.get("format", ""))
        for place, own in inputs.items()
    )


def _checked_inputs(inputs: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    for place, own in inputs.items():
        for name in own:
            if name not in ("text_column", "id_column", "format"):
                raise ValueError(
                    f"{place}: {name!r} can't be given for one input, only text_column, id_column and format"
                )
    return {storage.absolute(place): own for place, own in inputs.items()}


class Settings(NormalizationSettings):
    """The resolved settings of a run.

    Raises:
      pydantic.ValidationError: a value is out of range, of the wrong type, or unknown.
    """

    input: Annotated[list[str], pydantic.AfterValidator(_all_absolute)] = _setting(
        "input and output",
        min_length=1,
        metavar="URI",
        decides="nothing",
        description="a file, folder, glob or s3:// prefix of Parquet, Arrow, JSON Lines, CSV, TSV, WARC, or zip, tar "
        "of these (docs/reading.md); repeatable",
    )
    output: Annotated[str, pydantic.AfterValidator(storage.absolute)] = _setting(
        "input and output",
        min_length=1,
        metavar="URI",
        decides="nothing",
        description="folder or s3:// prefix for run.json, tokens/ and fingerprints/; running the same command again "
        "continues there",
    )
    tokenizer: Annotated[str, pydantic.AfterValidator(_place)] = _setting(
        "input and output",
        "",
        metavar="FILE",
        decides="nothing",
        description="a Hugging Face tokenizer.json (train-tokenizer makes one) [required, unless --no-tokens is given]",
    )
    text_column: str = _setting(
        "input and output", "text", min_length=1, metavar="NAME", description="column or JSON field with the text"
    )
    id_column: str = _setting(
        "input and output", "id", min_length=1, metavar="NAME", description="column or field with your id, if there"
    )
    plain_text: Literal["no", "file", "paragraph"] = _setting(
        "input and output",
        "no",
        metavar="no|file|paragraph",
        description="what a document is in sources that are plain text; no: they aren't read",
    )
    keep_columns: Annotated[list[str], pydantic.BeforeValidator(_split_commas)] = _setting(
        "input and output",
        default_factory=list,
        metavar="A,B.C",
        description="columns or fields that are kept beside the text, as NAME, STRUCT.NAME, NAME=TYPE, or NAME as "
        "OTHER; steps see them, and they are stored with the fingerprints (docs/attributes.md)",
    )
    input_columns: Annotated[
        dict[str, dict[str, str]],
        pydantic.BeforeValidator(lambda value: yaml.safe_load(value) if isinstance(value, str) else value),
        pydantic.AfterValidator(_checked_inputs),
    ] = _setting(
        "input and output",
        default_factory=dict,
        metavar="YAML",
        description="columns and formats of single inputs; in --config better as `input: [{uri: URI, "
        "text_column: NAME, id_column: NAME, format: NAME}]`",
    )
    shard_bytes: pydantic.ByteSize = _setting(
        "input and output",
        pydantic.ByteSize(128 * 2**20),
        ge=1,
        metavar="SIZE",
        description="text in one shard, the unit of work, retry and output, e.g. 128MiB",
    )
    strict: bool = _setting(
        "input and output",
        False,
        decides="nothing",
        description="read every source through first and stop, before anything is written, if one is unreadable",
    )
    max_deaths: int = _setting(
        "input and output",
        2,
        ge=0,
        decides="nothing",
        metavar="N",
        description="a shard that has killed its worker so often is set aside as unreadable; 0: never",
    )
    max_silence: float = _setting(
        "input and output",
        300.0,
        ge=0,
        decides="nothing",
        metavar="SECONDS",
        description="on Flink, how long nothing may move while a part of the cluster is gone; 0: for ever",
    )

    language_model: Annotated[str, pydantic.AfterValidator(_model_place)] = _setting(
        "language",
        DEFAULT_LANGUAGE_MODEL,
        metavar="FILE",
        decides="nothing",
        description="a fastText .bin or .ftz model; the default is lid.176",
    )
    language_window: int = _setting(
        "language", 1000, ge=1, metavar="N", description="characters of a document that are looked at"
    )
    min_letters: int = _setting(
        "language", 10, ge=0, metavar="N", description="with fewer letters the language is und (undetermined)"
    )

    languages: Annotated[list[str], pydantic.BeforeValidator(_split_commas)] = _setting(
        "filters", default_factory=list, metavar="A,B", description="languages to keep, as the model labels them"
    )
    min_language_score: float = _setting(
        "filters", 0.0, ge=0, le=1, metavar="P", description="lowest probability of the language"
    )
    min_language_scores: Annotated[dict[str, float], pydantic.BeforeValidator(_split_scores)] = _setting(
        "filters", default_factory=dict, metavar="A=P,B=P", description="the same for single languages"
    )
    min_characters: int = _setting("filters", 0, ge=0, metavar="N", description="shortest document kept")
    max_characters: int = _setting("filters", 0, ge=0, metavar="N", description="longest document kept; 0: any")
    filters: list[StepSpec] = _setting(
        "filters",
        default_factory=list,
        metavar="MODULE:NAME",
        description="a step by its name or import path; repeatable; with arguments in YAML (docs/recipes.md)",
    )
    recipe: Annotated[list[StepSpec], pydantic.BeforeValidator(_read_recipe)] = _setting(
        "filters",
        default_factory=list,
        metavar="NAME|FILE",
        description=f"a recipe that ships with the package ({', '.join(recipes.NAMES)}), or YAML with a list of steps; "
        "in --config also the list itself (docs/recipes.md)",
    )
    check_steps: bool = _setting(
        "filters",
        True,
        decides="nothing",
        description="call your own steps on a few documents before work starts, so that their errors come first",
    )
    ignore_code_changes: bool = _setting(
        "filters",
        False,
        decides="nothing",
        description="go on with a run although the code of your steps was changed since; what is done stays",
    )
    annotate_all: bool = _setting(
        "filters", False, description="give a document that was dropped the attributes of the steps behind, too"
    )

    near_duplicates: bool = _setting(
        "deduplication",
        True,
        description="drop near-duplicates, too; with --no-near_duplicates only exact copies, in less time, and with a "
        "tenth of the fingerprints",
    )
    shingle_size: int = _setting("deduplication", 5, ge=1, metavar="N", description="words in a shingle")
    bands: int = _setting("deduplication", 14, ge=1, metavar="N", description="LSH bands")
    rows: int = _setting("deduplication", 8, ge=1, metavar="N", description="MinHash values in a band")
    signature_size: int = _setting(
        "deduplication", 256, ge=16, metavar="N", description="bytes of the signature that verifies a pair"
    )
    min_similarity: float = _setting(
        "deduplication",
        0.8,
        gt=0,
        le=1,
        metavar="J",
        decides="tokens",
        description="Jaccard similarity from which a pair is duplicates",
    )
    duplicates_within: Literal["global", "language"] = _setting(
        "deduplication",
        "global",
        metavar="global|language",
        decides="tokens",
        description="compare all documents, or only those of one language",
    )
    keep_duplicate: Annotated[str, pydantic.BeforeValidator(_one_line)] = _setting(
        "deduplication",
        "first",
        metavar="first|longest|best: NAME",
        decides="tokens",
        description="which document of a pair stays; 'best: NAME': the one with the higher numeric attribute",
    )
    fold_digits: bool = _setting("deduplication", False, description="match documents that differ in digits only")
    fold_accents: bool = _setting("deduplication", False, description="match documents that differ in accents only")
    partitions: int = _setting(
        "deduplication",
        0,
        ge=0,
        decides="nothing",
        metavar="N",
        description="hash ranges of the shuffles; 0: by the documents",
    )
    bucket_cap: int = _setting(
        "deduplication", 10_000, ge=2, decides="nothing", metavar="N", description="buckets over this size are reported"
    )
    max_open_edges: int = _setting(
        "deduplication",
        50_000_000,
        ge=1,
        decides="nothing",
        metavar="N",
        description="pairs the last step of the resolution may hold in memory",
    )

    tokens: bool = _setting(
        "tokens",
        True,
        decides="tokens",
        description="tokenize what is kept; with --no-tokens its normalized text is written to text/, without a "
        "tokenizer",
    )
    bos: str | None = _setting(
        "tokens", None, metavar="TOKEN", decides="tokens", description="token put before each document"
    )
    eos: str | None = _setting(
        "tokens",
        None,
        metavar="TOKEN",
        decides="tokens",
        description=f"token put after each document, or {NO_EOS}; without it, the tokenizer's own "
        "(docs/tokenizers.md), and if that isn't known, the run asks for it",
    )
    max_unknown_tokens: float | None = _setting(
        "tokens",
        None,
        ge=0,
        le=1,
        metavar="SHARE",
        description="a document of which more tokens than this share are unknown to the tokenizer is invalid, and one "
        "without tokens too; if it isn't given, both are kept and counted",
    )
    with_text: bool = _setting(
        "tokens", False, decides="tokens", description="write the normalized text beside its tokens"
    )
    token_columns: Annotated[list[str], pydantic.BeforeValidator(_split_commas)] = _setting(
        "tokens",
        default_factory=list,
        metavar="A,B",
        decides="tokens",
        description="kept columns and attributes that are written beside the tokens",
    )
    fast_tokenizer: bool = _setting(
        "tokens", True, decides="nothing", description="use gigatoken where it gives the same ids as tokenizers"
    )

    price_get: float = _setting(
        "cost", 0.0004, decides="nothing", ge=0, metavar="P", description="1,000 GET or HEAD requests"
    )
    price_put: float = _setting(
        "cost", 0.005, decides="nothing", ge=0, metavar="P", description="1,000 PUT, POST or LIST requests"
    )
    price_gb_month: float = _setting(
        "cost", 0.023, decides="nothing", ge=0, metavar="P", description="1 GB for a month"
    )
    price_cpu_hour: float = _setting(
        "cost", 0.04, decides="nothing", ge=0, metavar="P", description="1 CPU for an hour"
    )
    plan_fraction: float = _setting(
        "cost",
        0.05,
        decides="nothing",
        gt=0,
        le=1,
        metavar="F",
        description="share of the documents that --plan looks at",
    )
    prediction: str = _setting(
        "cost",
        "",
        decides="nothing",
        metavar="FILE",
        description="what --plan has printed for this run; run.json then shows it beside the actual figures",
    )

    lineage_dsn: str = _setting(
        "lineage",
        "",
        decides="nothing",
        metavar="DSN",
        description="PostgreSQL, e.g. 'host=db dbname=lineage'; empty: an embedded one in your data directory",
    )
    events_exchange: str = _setting(
        "lineage",
        "",
        decides="nothing",
        max_length=255,
        metavar="NAME",
        description="topic exchange of RabbitMQ (AMQP_URL in the environment) that is told what happens; empty: none",
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _take_columns_of_inputs(cls, values: Any) -> Any:
        """An input with columns of its own, as YAML has it, in two settings: where it is, and its columns."""
        inputs = values.get("input") if isinstance(values, dict) else None
        if not isinstance(inputs, list) or not any(isinstance(each, dict) for each in inputs):
            return values
        places, columns = [], dict(values.get("input_columns") or {})
        for each in inputs:
            if isinstance(each, dict):
                own = dict(each)
                if not isinstance(place := own.pop("uri", None), str):
                    raise ValueError(f"input: {each} has no `uri`")
                if own:
                    columns[place] = own
                places.append(place)
            else:
                places.append(each)
        return {**values, "input": places, "input_columns": columns}

    @pydantic.model_validator(mode="after")
    def _build_options(self) -> Settings:
        """The options of every step check themselves when they are built: do it before any work."""
        from transforms.io.postgres import has_password

        self.minhash(), self.deduplication(), self.reading(), self.language_identification(), self.kept_columns()
        if self.tokens and not self.tokenizer:
            raise ValueError("--tokenizer is missing; --no-tokens writes normalized text without one")
        if not self.tokens and self.max_unknown_tokens is not None:
            raise ValueError("max_unknown_tokens: with --no-tokens there is no tokenizer that could count them")
        fields = type(self).model_fields
        unused = [name for name in OF_NEAR_DUPLICATES if getattr(self, name) != fields[name].default]
        if unused and not self.near_duplicates:
            raise ValueError(
                f"{unused[0]}: has no effect with near_duplicates off, as only hashes are compared; leave it out, or "
                "leave near_duplicates on"
            )
        if has_password(self.lineage_dsn):
            raise ValueError("lineage_dsn: leave the password out and set PGPASSWORD or PGPASSFILE instead")
        if self.max_characters and self.max_characters < self.min_characters:
            raise ValueError(f"max_characters ({self.max_characters}) is under min_characters ({self.min_characters})")
        return self

    def reading(self) -> ReadOptions:
        """How sources are split and read."""
        from transforms.io.readers import ReadOptions

        of_inputs = own_columns(self.input_columns, self.text_column, self.id_column)
        for place, text_column, id_column, name in of_inputs:
            try:
                ReadOptions(text_column, id_column, format=name)  # checks them
            except ValueError as error:
                raise ValueError(f"input {place}: {error}") from None
        shard_bytes = int(self.shard_bytes)
        return ReadOptions(self.text_column, self.id_column, shard_bytes, self.plain_text, of_inputs=of_inputs)

    def first_reading(self) -> ReadOptions:
        """How sources are looked at before the types of what is kept are known."""
        return dataclasses.replace(self.reading(), columns=self.kept_columns())

    def kept_columns(self) -> tuple[KeptColumn, ...]:
        """The columns that are kept; the sources say the types of those that have none (``beam_pipeline.preflight``).

        Raises:
          ValueError: two have one name, or one has a name of the pipeline's own.
        """
        from transforms.io.readers.kept_columns import KeptColumn

        columns = tuple(map(KeptColumn.parse, self.keep_columns))
        names = [column.name for column in columns]
        for name in names:
            if name in RESERVED or name in FINGERPRINTS:
                raise ValueError(
                    f"keep_columns: the pipeline has a column {name!r} itself; keep yours under another name, "
                    f"as in '{name} as source_{name}'"
                )
            if names.count(name) > 1:
                raise ValueError(f"keep_columns: {name!r} is named twice")
        return columns

    def named_id_column(self) -> str | None:
        """The id column if it isn't the default, which a source may lack."""
        return None if self.id_column == type(self).model_fields["id_column"].default else self.id_column

    def language_identification(self) -> LanguageIdentification:
        """The window and the letter minimum."""
        from transforms.kernels.language.options import LanguageIdentification

        return LanguageIdentification(self.language_window, self.min_letters)

    def steps(self) -> list[StepSpec]:
        """The steps of the recipe: those that have settings of their own, then the filters, then ``recipe``.

        They are not imported here: ``transforms.recipe.spec.load`` does that.
        """
        built_in: list[StepSpec] = []
        if self.min_characters or self.max_characters:
            lengths = {"minimum": self.min_characters, "maximum": self.max_characters}
            built_in.append(StepSpec(use="length", arguments=lengths))
        if self.languages or self.min_language_score or self.min_language_scores:
            wanted = {
                "keep": self.languages,
                "min_score": self.min_language_score,
                "min_scores": self.min_language_scores,
            }
            built_in.append(StepSpec(use="languages", arguments=wanted))
        return [*built_in, *self.filters, *self.recipe]

    def minhash(self) -> MinHash | None:
        """How documents are made comparable; None: only exact copies are looked for."""
        from transforms.kernels.deduplication.fingerprinting import MinHash

        if not self.near_duplicates:
            return None
        return MinHash(
            shingle_size=self.shingle_size,
            bands=self.bands,
            rows=self.rows,
            signature_size=self.signature_size,
            fold_digits=self.fold_digits,
            fold_accents=self.fold_accents,
        )

    def prices(self) -> Prices:
        """What requests, storage and CPUs cost."""
        return Prices(self.price_get, self.price_put, self.price_gb_month, self.price_cpu_hour)

    def deduplication(self, documents: int = 0) -> Deduplication:
        """How duplicates are found and resolved among about so many documents."""
        from transforms.kernels.deduplication.candidates import Deduplication, partitions_for

        return Deduplication(
            min_similarity=self.min_similarity,
            partitions=self.partitions or partitions_for(documents),
            duplicates_within=self.duplicates_within,
            keep_duplicate=self.keep_duplicate,
            bucket_cap=self.bucket_cap,
            max_open_edges=self.max_open_edges,
            band_bins=self.bands * self.rows,
            near_duplicates=self.near_duplicates,
        )

    def deciding(self, objects: Decides) -> dict[str, Any]:
        """The settings that decide these objects, without the places that are read from and written to."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if _extra(fields[name])["decides"] == objects
        }


def _extra(field: pydantic.fields.FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError("a setting is declared without _setting()")
    return extra


def group_of(name: str, settings: type[pydantic.BaseModel] | None = None) -> str:
    """The group of a setting in ``--help``; ``settings``: those of another command."""
    return str(_extra((settings or Settings).model_fields[name])["group"])


def metavar_of(name: str, settings: type[pydantic.BaseModel] | None = None) -> str:
    """What stands for a setting's value in ``--help``; ``settings`` as for ``group_of``."""
    return str(_extra((settings or Settings).model_fields[name])["metavar"])
