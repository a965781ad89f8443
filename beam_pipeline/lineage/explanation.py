"""In words, why a document was kept, dropped or couldn't be used."""

from __future__ import annotations

from typing import Any

from beam_pipeline.lineage import runs
from beam_pipeline.lineage.documents import count_duplicates, trace
from beam_pipeline.lineage.stored_documents import has_all_shingles
from schemas.run_layout import RunLayout
from transforms.io import storage
from transforms.io.lineage import Lineage
from transforms.io.own_objects import DamagedObject

_INVALID = {
    "null_text": "its text is null",
    "empty_text": "it has no text, or only white space and invisible characters",
    "invalid_utf8": "its text isn't UTF-8",
    "invalid_json": "its line isn't a JSON object",
    "missing_text": "its line has no text field",
    "text_not_a_string": "its text field isn't a string",
    "no_tokens": "the tokenizer makes no token of it",
    "unknown_tokens": "the tokenizer can't spell it: more of its tokens are unknown than max_unknown_tokens allows",
}


def explain(lineage: Lineage, run_id: str, found: dict[str, Any], output: str = "") -> tuple[list[str], dict[str, Any]]:
    """The reason of a document's outcome.

    Args:
      lineage: asked for the witness, the duplicates and the settings.
      run_id: the run.
      found: the document as ``documents.trace`` returns it.
      output: where the run's output is now; empty: where it was written.

    Returns:
      Sentences, and what they rest on: ``witness`` (its own trace), ``duplicates`` (how many), ``setting``.
    """
    place = f"row {found['source_row']} of {found['source_uri']}"
    outcome, reason = found["outcome"], found["reason"]
    if outcome == "kept":
        dropped = count_duplicates(lineage, run_id, found["source_uri"], found["source_row"])
        kept = f"{place} was kept: it is row {found['token_row']} of {found['token_object']}."
        others = f"{dropped:,} other documents were dropped for it." if dropped else "No other was dropped for it."
        return [kept, others], {"duplicates": dropped}
    if found["witness_uri"] is not None:
        other = str(found["witness_run"])
        witness = trace(lineage, other, source=found["witness_uri"], row=found["witness_row"])
        where = f"row {found['witness_row']} of {found['witness_uri']}"
        if other != run_id:
            where += f", which run {other} of the corpus has kept before"
        if reason == "exact_duplicate":
            why = f"{place} was dropped: its normalized text is that of {where}."
            setting = None
        else:
            settings = runs.settings(lineage, run_id)
            setting = {"min_similarity": settings.get("min_similarity")}
            places = [output or settings["output"], output or settings["output"]]
            if other != run_id:
                places[1] = runs.settings(lineage, other)["output"]
            how = how_compared(settings, [found, witness], places)
            why = (
                f"{place} was dropped: its similarity to {where} is {found['similarity']:.3f} (Jaccard similarity of "
                f"their sets of word shingles, {how}; duplicates from {setting['min_similarity']})."
            )
        kept = f"That one was kept: it is row {witness['token_row']} of {witness['token_object']}."
        return [why, kept], {"witness": witness, "setting": setting}
    if outcome == "invalid":
        return [f"{place} can't be used: {_INVALID.get(reason, reason)}."], {}
    setting = _step_of(runs.settings(lineage, run_id), reason)
    what = f"the step {setting['use']} with {setting['arguments']}" if setting else "a step of the recipe"
    return [f"{place} was dropped by {what}: {reason}."], {"setting": setting}


def how_compared(settings: dict[str, Any], documents: list[dict[str, Any]], outputs: list[str]) -> str:
    """Whether the similarity of two documents is exact or estimated, as the fingerprints in each one's output tell."""
    listed = []
    for document, output in zip(documents, outputs, strict=True):
        uri = RunLayout(output).fingerprints_of(document["shard"])
        try:
            listed.append(has_all_shingles(uri, document["document"]))
        except (storage.StorageError, DamagedObject):
            return f"exact if both are short, else estimated; {uri} would tell, but can't be read"
    if all(listed):
        return "exact"
    size = settings["signature_size"]
    return f"estimated from {size} bytes of signature, with a standard error of {(0.8 * 0.2 / size) ** 0.5:.3f} at 0.8"


def _step_of(settings: dict[str, Any], reason: str) -> dict[str, Any] | None:
    """The step that gives a reason, if the steps can be loaded here, and the settings are of this version."""
    from beam_pipeline.settings import Settings  # brings Beam

    try:
        own = {name: value for name, value in settings.items() if name != "parent"}
        for spec in Settings(**own).steps():
            if reason in spec.load().reasons:
                return spec.model_dump()
    except ValueError:
        return None
    return None
