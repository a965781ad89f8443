"""Settings held against model and sources before any work: what can't work is one sentence, and nothing is written.

A label that the language model doesn't have would drop every document, a misspelt column would lose every row; both
look like a run that went well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Iterable, Sequence

import pyarrow as pa

from beam_pipeline.settings import Settings
from schemas.errors import WRONG_USAGE, ToldError
from schemas.shards import Source
from transforms.io.kept_columns import KeptColumn
from transforms.io.pinned_files import PinnedFile
from transforms.io.readers import FirstLook, ReadOptions, first_looks
from transforms.io.readers.column_types import common_type, stored_type, widened
from transforms.kernels.deduplication.candidates import rank_column
from transforms.kernels.language import identification as language
from transforms.recipe.built_in import Languages

_SHOWN = 20


class UnusableSettings(ToldError):
    """Settings that can't work with this model or these sources; nothing was done."""

    exit_status = WRONG_USAGE


def check_languages(settings: Settings, model: PinnedFile) -> None:
    """Refuses a file that is no language model, and labels that the model doesn't have.

    Raises:
      UnusableSettings: with the labels that may have been meant.
      StorageError: the model can't be read.
    """
    try:
        labels = [*language.load(model.local_path()).labels, language.UNDETERMINED]
    except (ValueError, RuntimeError) as error:
        raise UnusableSettings(
            f"language_model: {error}. Give a fastText model for classification (.bin or .ftz)"
        ) from error
    for setting, wanted in _labels_in(settings):
        unknown = [label for label in wanted if label not in labels]
        if unknown:
            raise UnusableSettings(
                "\n".join(f"{setting}: {_no_such_label(settings, label, labels)}" for label in unknown)
            )


def _labels_in(settings: Settings) -> Iterable[tuple[str, Iterable[str]]]:
    """Every setting that names labels, the arguments of filters included."""
    yield "languages", settings.languages
    yield "min_language_scores", settings.min_language_scores
    for spec in (*settings.filters, *settings.recipe):
        found = spec.load().function
        if isinstance(found, Languages):
            yield f"recipe: {spec.label}: keep", found.keep
            yield f"recipe: {spec.label}: min_scores", found.min_scores


def _no_such_label(settings: Settings, label: str, labels: Sequence[str]) -> str:
    meant = close_labels(label, labels)
    known = f"it has {len(labels)}: {', '.join(labels[:_SHOWN])}{', ...' if len(labels) > _SHOWN else ''}"
    hint = f"did you mean {' or '.join(map(repr, meant))}?" if meant else known
    return f"the language model {settings.language_model} has no label {label!r}; {hint}"


def close_labels(label: str, labels: Sequence[str]) -> list[str]:
    """The model's labels for what may be a language's code or name in other letters, or misspelt: three at most."""
    plain = label.removeprefix("__label__").strip()
    same = [known for known in labels if known.casefold() == plain.casefold()]
    if same:
        return same
    code = _code_of(plain)
    by_code = {known: language.iso_639_3(known) for known in labels} if code else {}
    spoken = [known for known in labels if code and by_code[known] == code]
    spoken = spoken or [known for known in labels if code and _related(by_code[known], code)]
    script = plain.replace("-", "_").partition("_")[2].casefold()
    exact = [known for known in spoken if script and known.casefold().endswith(f"_{script}")]
    return (exact or spoken or difflib.get_close_matches(plain.casefold(), labels, n=3, cutoff=0.7))[:3]


def _code_of(text: str) -> str:
    """ISO 639-3 of a code (two or three letters, with or without a script or region) or an English name; or empty."""
    import iso639

    if (code := language.iso_639_3(text)) != language.UNDETERMINED:
        return code
    for candidate in (text, text.replace("-", "_").partition("_")[0]):
        for spelled in (candidate, candidate.lower(), candidate.title()):
            with contextlib.suppress(iso639.LanguageNotFoundError):
                return str(iso639.Language.match(spelled).part3)
    return ""


def _related(code: str, other: str) -> bool:
    """Whether one is the macrolanguage of the other, as Chinese is of Mandarin."""
    import iso639

    with contextlib.suppress(iso639.LanguageNotFoundError):
        mine, others = (iso639.Language.from_part3(each).macrolanguage for each in (code, other))
        return code == others or other == mine
    return False


def check_columns(
    sources: Sequence[Source], options: ReadOptions, id_column: str | None = None, *, proven: bool = False
) -> tuple[KeptColumn, ...]:
    """The columns that are kept, with their types, as far as the sources' first rows and footers tell.

    Refuses a column that none of the sources has, and a kept one whose types don't go together. A source that can't be
    looked into says nothing here: the run lists it with its reason.

    Args:
      sources: of the run.
      options: how they are read, and what is kept; the text column must be in one of those looked at.
      id_column: the same, if the user has named one.
      proven: the settings were right for other sources, so one that lacks a column is at fault itself.

    Raises:
      UnusableSettings: with the columns that there are, or two sources and their types.
      StorageError: the store refuses.
    """
    looks = [look for look in first_looks(sources, options) if look.columns]
    for own, of_these in _by_columns([] if proven else looks, options).items():
        named = id_column if own.id_column == options.id_column else own.id_column
        _refuse_missing(of_these, dataclasses.replace(own, columns=()), named)
    _refuse_missing([] if proven else looks, options, None, kept_only=True)
    return tuple(column if column.declared else _typed(column, looks) for column in options.columns)


def _typed(column: KeptColumn, looks: Sequence[FirstLook]) -> KeptColumn:
    """The column with the type that holds the values of all sources."""
    kind, decided_by, inferred = pa.null(), "", False
    for look in looks:
        for found in look.types.get(column.path, ()):
            both = common_type(kind, found)
            if both is None:
                raise UnusableSettings(
                    f"keep_columns: {column.path!r} is {kind} in {decided_by} and {found} in {look.source.uri}; keep "
                    f"it as {column.path}=string to have both as they are written, or name another type"
                )
            if both != kind:
                decided_by = look.source.uri
            kind = both
            inferred |= look.inferred
    return dataclasses.replace(column, type=stored_type(widened(kind) if inferred else kind))


def _by_columns(looks: Sequence[FirstLook], options: ReadOptions) -> dict[ReadOptions, list[FirstLook]]:
    """The looks by the options of their sources."""
    found: dict[ReadOptions, list[FirstLook]] = {}
    for look in looks:
        found.setdefault(options.of_source(look.source.uri), []).append(look)
    return found


def _refuse_missing(
    looks: Sequence[FirstLook], options: ReadOptions, id_column: str | None, kept_only: bool = False
) -> None:
    found = [(look.source, look.columns) for look in looks]
    if not found:
        return
    there = list(dict.fromkeys(name for look in looks for name in (*look.columns, *look.paths)))
    named = [] if kept_only else [("text_column", options.text_column), ("id_column", id_column)]
    named += [("keep_columns", column.path) for column in options.columns]
    seen = {path for look in looks for path in look.types}
    for setting, wanted in named:
        if wanted is None or wanted in there or wanted in seen:
            continue
        close = [name for name in there if name.casefold() == wanted.casefold()]
        close = close or difflib.get_close_matches(wanted, there, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        source, names = found[0]
        shown = f"{', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        others = f" The same goes for {len(found) - 1} more sources that were looked at." if len(found) > 1 else ""
        others = others if hint or not others else f".{others}"
        raise UnusableSettings(f"{setting}: {source.uri} has no {wanted!r} but {shown}{hint}{others}")


def check_rank(keep_duplicate: str, attributes: Sequence[pa.Field]) -> None:
    """Makes sure that the attribute that decides which duplicate stays is there and numeric.

    Raises:
      UnusableSettings: it isn't.
    """
    name = rank_column(keep_duplicate)
    if name in (None, "text_bytes"):
        return
    numeric = [field.name for field in attributes if is_numeric(field.type)]
    if name not in numeric:
        raise UnusableSettings(
            f"keep_duplicate: there is no numeric attribute {name!r}; "
            + (f"there are {', '.join(numeric)}" if numeric else "the recipe adds none")
        )


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column of this type can be a rank."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
