"""Each box of a text pass, piped: what comes out, what it costs, and that what goes in stays as it is."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pyarrow as pa
import pytest

from beam_pipeline.passes import Pinned, text_pass, token_pass
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.settings import Settings
from schemas.columns import DOCUMENTS
from schemas.outcomes import EMPTY_TEXT, KEPT, OWN, UNKNOWN_TOKENS
from schemas.shards import Shard, Source
from transforms.apply_recipe import RecipeStep, RemoveDroppedTexts, recipe_boxes
from transforms.batches import Batch
from transforms.box import Box
from transforms.check_spelling import CheckSpelling
from transforms.edit import Edit, TextChanged
from transforms.fingerprint import Fingerprint
from transforms.identify_language import IdentifyLanguage
from transforms.io.pinned_files import PinnedFile
from transforms.kernels.deduplication.blocks import DECISIONS, WITNESSES
from transforms.normalize import Normalize, NormalizeKept
from transforms.recipe.spec import PlannedRecipe, StepSpec
from transforms.shard_outcomes import FINGERPRINT_COLUMNS, decide
from transforms.tokenize import Tokenization, Tokenize

TEXTS = [
    "The river rose by a metre in one night, and the bridge was closed.\r\n",
    "Der Fluss stieg in einer Nacht um einen Meter, und die Brücke wurde gesperrt.",
    "\u200b \n",
    None,
    "short",
]
LONG_ENOUGH = StepSpec(use="length", arguments={"minimum": 10})


def documents() -> Batch:
    """Five documents as they are read: the third without anything that can be seen, the fourth without a text."""
    text = pa.array(TEXTS, pa.string())
    outcome = pa.array([ord("z") if text is None else None for text in TEXTS], DOCUMENTS.field("outcome").type)
    row, ids = pa.array(range(len(TEXTS)), pa.uint32()), pa.nulls(len(TEXTS), pa.string())
    data = pa.RecordBatch.from_arrays([row, ids, text, outcome], schema=DOCUMENTS)
    return Batch(Shard(Source(0, "/in/a.jsonl", "etag", 1), rows=len(TEXTS)), 0, True, data)


def piped(box: Box, batch: Batch) -> Batch:
    """What comes out of a pipeline of the box alone; the batch that goes in must not have changed."""
    before = pickle.dumps((batch.data.to_pydict(), {**batch.costs}, {**batch.notes}))
    [after] = [batch] | box
    assert pickle.dumps((batch.data.to_pydict(), {**batch.costs}, {**batch.notes})) == before
    return after


def by_hand(*boxes: Box, batch: Batch | None = None) -> Batch:
    """What comes out of boxes that are called one after the other."""
    batch = batch or documents()
    for box in boxes:
        box.setup()
        batch = box(batch)
    return batch


def reasons(batch: Batch) -> list[str | None]:
    return [None if code is None else OWN.get(code, ("", "?"))[1] for code in batch.data["outcome"].to_pylist()]


def planned(**settings: Any) -> Pinned:
    made = Settings(input=["/in"], output="/out", tokenizer=str(tokenizer_path()), **settings)
    tokenizer = PinnedFile.pin(made.tokenizer)
    tokenization = Tokenization(tokenizer, made.bos, made.eos, made.with_text, made.fast_tokenizer)
    return Pinned(made, PinnedFile.pin(made.language_model), tokenization, PlannedRecipe.of(made.steps()))


def kept(recipe: PlannedRecipe) -> Batch:
    """The documents that are kept, with what pass 1 has found out, as they are read again."""
    boxes = recipe_boxes(recipe.steps, recipe.outcomes)
    prints = by_hand(Normalize(), IdentifyLanguage(), *boxes, Fingerprint()).data
    read = documents()
    found = decide(read.shard, pa.table(prints.select(FINGERPRINT_COLUMNS)), DECISIONS.empty(0), WITNESSES.empty(0))
    return dataclasses.replace(read, data=read.data.filter(pa.array(found.kept)), shard_outcomes=found)


def test_normalize() -> None:
    after = piped(Normalize(), documents())
    assert after.data["text"].to_pylist() == [TEXTS[0].replace("\r", ""), TEXTS[1], None, None, TEXTS[4]]  # type: ignore[union-attr]
    assert after.data["already_normalized"].to_pylist() == [False, True, True, None, True]
    assert after.data["outcome"].to_pylist()[2] == EMPTY_TEXT
    assert after.costs["Normalize"].wall > 0


def test_identify_language() -> None:
    after = piped(IdentifyLanguage(), by_hand(Normalize()))
    assert after.data["language"].to_pylist() == ["en", "de", None, None, "und"]
    assert {*after.costs} == {"Normalize", "IdentifyLanguage"}


def test_a_step_of_a_recipe() -> None:
    outcomes = PlannedRecipe.of([LONG_ENOUGH]).outcomes
    after = piped(RecipeStep(LONG_ENOUGH, outcomes), by_hand(Normalize(), IdentifyLanguage()))
    assert after.data["outcome"].to_pylist() == [None, None, EMPTY_TEXT, ord("z"), outcomes.code("too_short")]
    assert after.data["text"].to_pylist()[4] is None
    assert {*after.costs} == {"Normalize", "IdentifyLanguage", "length"}


def test_dropped_texts_stay_for_annotators_until_they_are_removed() -> None:
    outcomes = PlannedRecipe.of([LONG_ENOUGH]).outcomes
    before = by_hand(Normalize(), IdentifyLanguage(), RecipeStep(LONG_ENOUGH, outcomes, annotate_all=True))
    assert before.data["text"].to_pylist()[4] == "short"
    assert piped(RemoveDroppedTexts(), before).data["text"].to_pylist()[4] is None


def test_check_spelling() -> None:
    tokenization = Tokenization(PinnedFile.pin(str(tokenizer_path())))
    after = piped(CheckSpelling(tokenization, 0.5), by_hand(Normalize(), IdentifyLanguage()))
    assert UNKNOWN_TOKENS not in after.data["outcome"].to_pylist(), "the sample's tokenizer spells everything"
    assert {*after.costs} >= {"CompareTokenizers", "CheckSpelling"}


def test_fingerprint() -> None:
    after = piped(Fingerprint(), by_hand(Normalize(), IdentifyLanguage()))
    assert "text" not in after.data.schema.names
    assert [value is not None for value in after.data["content_hash"].to_pylist()] == [True, True, False, False, True]


def test_normalize_kept() -> None:
    after = piped(NormalizeKept(), kept(PlannedRecipe.of([])))
    assert after.data["text"].to_pylist() == [TEXTS[0].replace("\r", ""), TEXTS[1], TEXTS[4]]  # type: ignore[union-attr]


def test_edit_finds_texts_that_are_not_those_of_pass_1() -> None:
    recipe = PlannedRecipe.of([])
    assert piped(Edit((), recipe.outcomes), by_hand(NormalizeKept(), batch=kept(recipe))).data["text"].null_count == 0
    with pytest.raises(Exception, match=TextChanged.__name__):
        piped(Edit((), recipe.outcomes), kept(recipe))  # not normalized


def test_tokenize() -> None:
    recipe = PlannedRecipe.of([])
    options = Tokenization(PinnedFile.pin(str(tokenizer_path())))
    after = piped(Tokenize(options), by_hand(NormalizeKept(), batch=kept(recipe)))
    assert after.data["row"].to_pylist() == [0, 1, 4]
    assert all(after.data["input_ids"].to_pylist())
    assert after.notes["spelling"]["documents"] == 3


def test_the_passes_are_these_boxes() -> None:
    assert [box.label for box in text_pass(planned())] == ["Normalize", "IdentifyLanguage", "Fingerprint"]
    given = planned(min_characters=10, max_unknown_tokens=0.1, annotate_all=True)
    assert [box.label for box in text_pass(given)] == [
        "Normalize", "IdentifyLanguage", "Recipe/length", "RemoveDroppedTexts", "CheckSpelling", "Fingerprint",
    ]  # fmt: skip
    assert [box.label for box in token_pass(given)] == ["NormalizeKept", "Edit", "Tokenize"]


def test_what_setup_has_loaded_is_not_pickled() -> None:
    box = IdentifyLanguage()
    size = len(pickle.dumps(box))
    box.setup()
    assert len(pickle.dumps(box)) == size < 1000


def test_kept_documents_have_that_outcome() -> None:
    assert [chr(code) for code in kept(PlannedRecipe.of([])).shard_outcomes.outcomes] == [  # type: ignore[union-attr]
        chr(KEPT), chr(KEPT), "e", "z", chr(KEPT),
    ]  # fmt: skip
