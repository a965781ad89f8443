"""What a step must not do, tried on a few documents: each step in processes of its own.

A step is called with the same documents twice, one by one, in other orders, in another process, with odd texts, and
again and again. Its answers must be the same for each document, its input must stay as it is, and its memory must not
grow.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.trial.calling import Caller, Fault, Guard, place_of_function
from beam_pipeline.trial.children import Beat, interrupted, resident_bytes
from schemas.outcomes import Outcomes
from transforms.recipe.steps import Step

SLOW_MB = 1.0
"""MB of text a second and core, below which a step is called slow."""
SHUFFLED_SEED = 1
CHECK_SECONDS, LEAST_CHECKED = 0.3, 10
"""How long a step takes for the documents that it is checked with; how many they are at least."""
ODD_SECONDS = 1.0
"""How long a step may take for an odd text, by its speed; longer texts are left out."""
LEAK_ROUNDS, LEAK_SECONDS, LEAK_TEXT_BYTES = 6, 1.0, 256 << 10
LEAK_SHARE, LEAK_BYTES = 0.05, 32 << 10
"""A step leaks if, round by round, it holds so much more: a share of the text, and bytes."""
LEAK_RESIDENT_BYTES = 2 << 20
"""Growth a round of the whole process's memory that isn't noise."""

ODD_TEXTS = {
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 #️⃣",
    "one letter": "a",
    "one word": "word",
    "digits": "0123456789 ½ ² ٣ 四",
    "a line of 1 MB": "word " * 209_715,
    "a word of 1 MB": "w" * (1 << 20),
    "20,000 lines": "a\n" * 20_000,
    "right to left": "שלום עולם، مرحبا بالعالم \u202bטקסט\u202c",
    "combining marks": "Z\u0351\u036b\u0343a\u0301\u0300\u0302lgo \u0e01\u0e33\u0e49 नि " + "o" + "\u0301" * 100,
    "unspaced script": "これは空白のない文章です。這是一個句子。",
    "markup": '<p class="a">&amp; <script>alert(\'x\')</script></p> {"a": [1, 2]} %s %d \\n \\',
    "beyond the BMP and noncharacters": "\U0001f600\U00010348\U0010fffd\ufffd\u00ad\u200d",
    "white space of all kinds": "a\u00a0b\u2003c\u3000d\te\n\n\nf",
}
"""Texts that a step may meet, by what is odd about them."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a check has found: its name, a sentence behind the step's name, the document's place, the user's line."""

    check: str
    what: str
    place: int = -1
    code: str = ""


def answers_of(caller: Caller, documents: pa.RecordBatch) -> pa.Table:
    """What a step says of documents, by their places: outcomes, texts, attributes."""
    given = caller(documents)
    names = ["row", "outcome", "text", *caller.step.columns]
    table = pa.table({name: given[name] for name in names})
    return table.sort_by("row")


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was found out about a step in a process of its own.

    Attributes:
      findings: what is wrong.
      answers: its first ones; None if it gave none.
      repeats: whether it answers the same when it is called again.
    """

    findings: tuple[Finding, ...]
    answers: pa.Table | None
    repeats: bool = True


def checked(
    step: Step, number: int, documents: pa.RecordBatch, outcomes: Outcomes, beat: Beat, speed: float
) -> Checked:
    """What is wrong with a step that was never called in this process.

    Args:
      documents: as the step is shown them, with ``row`` and ``outcome``.
      speed: bytes of text that it takes in a CPU second; 0: it is built in, and isn't tried with odd texts.
    """
    caller = Caller(step, number, outcomes, beat, Guard(), own=False)
    with interrupted(beat):
        before = _contents(documents)
        first = answers_of(caller, documents)
        if _contents(documents) != before:
            what = "changes the documents that it is given: copy what you change"
            return Checked((Finding("mutates_its_input", what, code=place_of_function(step)),), None)
        if caller.off:
            return Checked((), None)  # that it can't be called was said when it was counted
        answers_of(caller, documents[:1])
        repeats = not differs(first, answers_of(caller, documents))
        found = [*_nan(step, first), *findings_of(caller.faults, len(documents))]
        found += _batching(caller, documents, first) if repeats and not caller.faults else []
        if speed:
            found += _odd(step, number, documents, outcomes, beat, speed)
            found += _leaks(caller, documents, speed)
    return Checked(tuple(found), first, repeats)


def _contents(documents: pa.RecordBatch) -> list[int]:
    """Hashes of all that a batch holds."""
    return [
        zlib.crc32(buffer) if buffer is not None and buffer.size else 0
        for column in documents.columns
        for buffer in column.buffers()
    ]


def _nan(step: Step, first: pa.Table) -> Iterator[Finding]:
    for name, kind in step.columns.items():
        if pa.types.is_floating(kind):
            values = first[name].cast(pa.float64())
            wrong = pc.fill_null(pc.invert(pc.is_finite(values)), False)
            if count := pc.sum(wrong).as_py():
                place = first["row"].filter(wrong)[0].as_py()
                what = f"gives NaN or infinity as {name!r} for {count:,} of {len(first):,} documents: give None instead"
                yield Finding("nan", what, place, place_of_function(step))


def _batching(caller: Caller, documents: pa.RecordBatch, first: pa.Table) -> Iterator[Finding]:
    """Whether the answers depend on the other documents of a batch."""
    shuffled = np.random.default_rng(SHUFFLED_SEED).permutation(len(documents))
    singly = [documents[row : row + 1] for row in range(len(documents))]
    for pieces, how in (
        ([documents.take(pa.array(shuffled))], "when the documents come in another order"),
        (singly, "when it is called with one document at a time"),
    ):
        other = pa.concat_tables([answers_of(caller, piece) for piece in pieces]).sort_by("row")
        if caller.faults:
            how = f"{caller.faults[-1].what}, {how}"
            yield Finding("depends_on_batching", how, code=place_of_function(caller.step))
            return
        if places := differs(first, other):
            what = f"answers differently {how}"
            yield Finding("depends_on_batching", what, places[0], place_of_function(caller.step))
            return


def differs(one: pa.Table, other: pa.Table) -> list[int]:
    """The places of the first documents with different answers; NaN equals NaN."""
    for name in one.column_names:
        a, b = one[name].combine_chunks(), other[name].combine_chunks()
        if a.type != b.type:
            b = b.cast(a.type)
        if not a.equals(b):
            left, right = a.to_pylist(), b.to_pylist()
            pairs = enumerate(zip(left, right, strict=True))
            at = [row for row, (old, new) in pairs if old != new and not (old != old and new != new)]
            if at:
                return [one["row"][row].as_py() for row in at[:3]]
    return []


def _odd(
    step: Step, number: int, documents: pa.RecordBatch, outcomes: Outcomes, beat: Beat, speed: float
) -> Iterator[Finding]:
    """Faults with odd texts; the other columns are a document's."""
    names = [name for name, text in ODD_TEXTS.items() if len(text) < max(1000, speed * ODD_SECONDS)]
    texts = [ODD_TEXTS[name] for name in names]
    row = documents.take(pa.array(np.zeros(len(texts), np.int64)))
    columns = dict(zip(row.schema.names, row.columns, strict=True))
    sizes = [len(text.encode()) for text in texts]
    columns |= {
        "row": pa.array(np.arange(len(texts), dtype=np.uint32)),
        "text": pa.array(texts, pa.string()),
        "text_bytes": pa.array(sizes, pa.uint32()),
    }
    caller = Caller(step, number, outcomes, beat, Guard(singly=True), own=True)
    caller(pa.RecordBatch.from_pydict(columns))
    for fault in caller.faults[:5]:
        what = f"{fault.what}, with an odd text: {names[fault.place]}" if fault.place >= 0 else fault.what
        yield Finding(fault.check, what, code=fault.code)


def _leaks(caller: Caller, documents: pa.RecordBatch, speed: float) -> Iterator[Finding]:
    """Whether memory grows with the documents seen: texts that differ a little, round by round."""
    own = int(pc.sum(pc.binary_length(documents["text"])).as_py())
    times = max(1, int(min(LEAK_TEXT_BYTES, speed * LEAK_SECONDS / LEAK_ROUNDS) // max(1, own)))
    documents = documents.take(pa.array(np.tile(np.arange(len(documents)), times)))
    text_bytes, place = own * times, documents.schema.get_field_index("text")
    rounds = []
    tracemalloc.start()
    try:
        for number in range(LEAK_ROUNDS):
            suffix = pa.array([f" {number} {row}" for row in range(len(documents))])
            text = pc.binary_join_element_wise(documents["text"], suffix, "")
            caller(documents.set_column(place, "text", text))
            gc.collect()
            rounds.append((tracemalloc.get_traced_memory()[0], resident_bytes(os.getpid())))
    finally:
        tracemalloc.stop()
    python, resident = (np.diff([each[kind] for each in rounds[1:]]) for kind in (0, 1))
    grows = len(python) > 1 and python.min() > max(LEAK_SHARE * text_bytes, LEAK_BYTES)
    if grows or (len(resident) > 1 and resident.min() > max(text_bytes, LEAK_RESIDENT_BYTES)):
        a_document = max(python.min(), resident.min() if not grows else 0) / len(documents)
        what = (
            f"holds {a_document / 1000:,.1f} kB more with each document that it sees, and gives nothing back: "
            "a worker sees millions of documents"
        )
        yield Finding("leaks_memory", what, code=place_of_function(caller.step))


def compared(step: Step, mine: Checked, elsewhere: pa.Table | None) -> Iterator[Finding]:
    """Whether a step answers the same in another process, and again in the same.

    Args:
      elsewhere: its answers to the same documents in another process; None if there are none.
    """
    code = place_of_function(step)
    if mine.answers is not None and elsewhere is not None and (places := differs(mine.answers, elsewhere)):
        what = "isn't deterministic: another process gets other answers for the same documents"
        yield Finding("not_deterministic", what, places[0], code)
    elif not mine.repeats:
        what = "remembers documents: what it says of one depends on those that it has seen before"
        yield Finding("remembers_documents", what, code=code)


def printed(step: Step, output: Path) -> list[Finding]:
    """What a step has printed."""
    with output.open("rb") as file:
        said = file.read(400).decode("utf-8", "replace").strip()
    if not said:
        return []
    line = said.splitlines()[0][:100]
    what = f"prints, for example {line!r}: a run with billions of documents fills its logs; return attributes instead"
    return [Finding("prints", what, code=place_of_function(step))]


def slow(label: str, cpu: float, text_bytes: int) -> Iterator[Finding]:
    """Whether a step is slow."""
    if cpu >= 0.05 and text_bytes / cpu < SLOW_MB * 1e6:
        speed = text_bytes / cpu / 1e6
        what = f"is slow: {speed:.2g} MB of text a second and core (docs/porting.md says how to make a fast one of it)"
        yield Finding("slow", what)


def findings_of(faults: Iterable[Fault], documents: int) -> Iterator[Finding]:
    """Faults of a step as findings: one for each kind, the first document named."""
    by_check: dict[str, list[Fault]] = {}
    for fault in faults:
        by_check.setdefault(fault.check, []).append(fault)
    for check, of_check in by_check.items():
        first = of_check[0]
        more = f", at {len(of_check):,} of {documents:,} documents" if len(of_check) > 1 else ""
        yield Finding(check, first.what + more, first.place, first.code)
