"""A trial's result on the terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.terminal import Name, padding
from beam_pipeline.report.tables import duration, number
from beam_pipeline.trial.against import against
from beam_pipeline.trial.result import ALL, INVALID, KEPT, Figure, Result, ShownText, totals
from beam_pipeline.trial.trying import Trying
from schemas.outcomes import EDITS

LANGUAGES = 6
"""Languages that have a column of their own with ``--by language``."""
OVERLAPS = 5
TEXT_CHARACTERS = 500
"""Of a text that only one of two recipes keeps."""


def show(console: Console, result: Result) -> None:
    """The tables of a result."""
    looked = result.looked
    share = "" if looked.is_all else f" of about {looked.of_documents:,}"
    size = "" if looked.is_all else f" of about {_mb(looked.of_bytes)}"
    console.print(
        Text(f"{result.title}: {looked.documents:,}{share} documents, {_mb(looked.bytes)}{size} of text"),
        soft_wrap=True,
    )
    show_problems(console, result)
    console.print(_steps(console, result))
    if looked.by:
        console.print(_by_language(result))
    if len(result.edits):
        console.print(_edits(result))
    console.print(_costs(result))
    _overlap(console, result)
    _duplicates(console, result)


def _steps(console: Console, result: Result) -> Table:
    table = Table(caption=f"tokens: {result.looked.tokens}", caption_justify="left", padding=padding(console))
    table.add_column("step and reason")
    for name in ("documents", "", "bytes", "tokens", "alone", ""):
        table.add_column(name, justify="right", no_wrap=True)
    found = totals(result)
    every = max(1, found[ALL, ""]["documents"])
    of_step: dict[str, int] = Counter(step for step, _ in found)
    last = ""
    for (step, reason), sums in found.items():
        if step not in (ALL, KEPT) and not sums["documents"] and not sums["documents_alone"]:
            continue
        if step == KEPT:
            table.add_section()
        name = step
        if step not in (ALL, KEPT) and (of_step[step] > 1 or reason != step):
            if step != last:
                table.add_row(Styled(Name(step), "bold"))
            name = f"  {reason}"
        cells = [
            f"{sums['documents']:,}",
            f"{sums['documents'] / every:.1%}",
            _mb(sums["bytes"]),
            f"{sums['tokens']:,}",
        ]
        alone = sums["documents_alone"]
        if step not in (ALL, KEPT, INVALID):
            cells += [f"{alone:,}", f"{alone / every:.1%}"]
        table.add_row(Name(name), *cells)
        last = step
    return table


def _by_language(result: Result) -> Table:
    """The share of each language that goes for each reason."""
    by: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in result.funnel.to_pylist():
        by[row["step"], row["reason"]][row["language"]] = row["documents"]
    languages = list(by[ALL, ""])[:LANGUAGES]
    table = Table(title="share of each language's documents", title_justify="left")
    table.add_column("reason")
    for language in languages:
        table.add_column(Text(f"{language or '?'}\n{by[ALL, ''][language]:,}"), justify="right", no_wrap=True)
    for (step, reason), counts in by.items():
        if step != ALL and any(counts.get(language) for language in languages):
            shares = [counts.get(language, 0) / max(1, by[ALL, ""][language]) for language in languages]
            table.add_row(Name(reason or step), *(f"{share:.1%}" if share else "" for share in shares))
    return table


def _edits(result: Result) -> Table:
    table = Table(title="edits", title_justify="left")
    table.add_column("step")
    for name in ("documents", *(f"characters {what}" for what in EDITS)):
        table.add_column(name, justify="right")
    names = ("documents", *EDITS)
    sums = result.edits.group_by("step", use_threads=False).aggregate([(name, "sum") for name in names])
    for row in sums.to_pylist():
        table.add_row(Text(row["step"]), *(f"{row[f'{name}_sum']:,}" for name in names))
    return table


def _costs(result: Result) -> Table:
    table = Table(title="costs", title_justify="left")
    table.add_column("step")
    for name in ("MB/s a core", "CPU time for the whole input"):
        table.add_column(name, justify="right")
    hours = 0.0
    for row in result.costs.to_pylist():
        speed = "" if row["mb_per_second"] is None else number(row["mb_per_second"])
        hours += row["cpu_hours_of_input"] or 0
        time = "" if row["cpu_hours_of_input"] is None else duration(row["cpu_hours_of_input"])
        table.add_row(Text(row["step"]), speed, time)
    table.add_section()
    table.add_row("all of these", "", duration(hours))
    return table


def _overlap(console: Console, result: Result) -> None:
    rows = result.overlap.slice(0, OVERLAPS).to_pylist()
    if rows:
        said = ", ".join(f"{row['reason']} and {row['other']} ({row['documents']:,})" for row in rows)
        console.print(Text(f"reasons that documents share, each step alone: {said}"), soft_wrap=True)


def _duplicates(console: Console, result: Result) -> None:
    found = result.duplicates
    said = found.note or (
        f"of the {found.looked_at:,} documents kept, {found.exact:,} have the text of another, {found.near:,} nearly; "
        "in the whole input there are more, as each is compared with all"
    )
    console.print(Text(f"duplicates: {said}"), soft_wrap=True)


def show_against(console: Console, trying: Trying, one: Result, other: Result, count: int) -> None:
    """Two results side by side: languages, and what only one keeps with the beginnings of the texts."""
    found = against(one, other)
    show_problems(console, other, one)
    if len(one.documents) < one.looked.documents:
        first = f"{len(one.documents):,} of {one.looked.documents:,}"
        console.print(Text(f"Of the first {first} documents:"), soft_wrap=True)
    title = Text(f"{one.title} (first) beside {other.title} (second)")
    table = Table(title=title, title_justify="left", padding=padding(console))
    table.add_column("language", no_wrap=True)
    for name in ("documents", "kept by\nfirst", "kept by\nsecond", "only by\nfirst", "only by\nsecond", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found.languages[:1] + tuple(each for each in found.languages[1:] if each.only_one + each.only_other):
        mark = " *" if each.is_significant else ""
        counts = [each.documents, each.one, each.other, each.only_one, each.only_other]
        name = "all" if each is found.languages[0] else each.language or "?"
        table.add_row(Text(name), *(f"{number:,}" for number in counts), f"{each.p:.2g}{mark}")
    console.print(table)
    console.print(
        Text("* hardly chance (McNemar's exact test, corrected for the number of languages, p < 0.05)"), soft_wrap=True
    )
    for mine, theirs, rows in ((one, other, found.only_one), (other, one, found.only_other)):
        if len(rows):
            console.rule(Text(f"{len(rows):,} documents that only {mine.title} keeps"), align="left")
        shown = rows.slice(0, count).to_pylist()
        texts = trying.texts_of((row["source"], row["row"]) for row in shown)
        for row in shown:
            head = f"{row['source']}, row {row['row']}  {row['language']}  {theirs.title} drops it: {row['reason']}"
            console.print(Text(head, style="bold"), soft_wrap=True)
            console.print(Text(printable(texts.get((row["source"], row["row"]), "")[:TEXT_CHARACTERS])), soft_wrap=True)


def against_as_json(one: Result, other: Result, count: int) -> dict[str, Any]:
    """What ``show_against`` shows, without texts: documents by source and row."""
    found = against(one, other)
    return {
        "recipe": other.title,
        "documents_compared": len(one.documents),
        "languages": [dataclasses.asdict(each) for each in found.languages],
        "only_one": found.only_one.slice(0, count).to_pylist(),
        "only_other": found.only_other.slice(0, count).to_pylist(),
    }


def show_problems(console: Console, result: Result, said: Result | None = None) -> None:
    """What is wrong with the steps; nothing that was said of another result."""
    for problem in result.problems:
        if said and problem in said.problems:
            continue
        line = Text("! ", style="bold red")
        line.append(problem.sentence, style="not bold")
        console.print(line, soft_wrap=True)
        for name, part in (("document", problem.document), ("text", repr(problem.text[:100])), ("code", problem.code)):
            if part and part != "''":
                console.print(Text(f"    {name}: {part}"), soft_wrap=True)


def show_texts(console: Console, result: Result, reason: str, count: int) -> None:
    """Texts of a reason, of an editor, or kept ones; says what there is if there are none."""
    show_problems(console, result)
    texts = [text for text in result.texts if reason in (text.reason, text.step if text.after is not None else None)]
    if reason == KEPT:
        texts = [text for text in result.texts if text.kind == "kept" and not text.reason]
    if not texts:
        found = totals(result).items()
        there = [name for (step, name), sums in found if step not in (ALL, KEPT, INVALID) and sums["documents"]]
        there += [*result.edits["step"].unique().to_pylist(), KEPT]
        said = f"no document of the sample is about {reason!r}; --reason can be {', '.join(dict.fromkeys(there))}"
        console.print(Text(said), soft_wrap=True)
        return
    seen: set[tuple[str, int]] = set()
    for place in dict.fromkeys(text.place for text in texts):
        first = [text for text in texts if text.place == place][:count]
        of_place = [text for text in first if (text.source, text.row) not in seen]
        seen |= {(text.source, text.row) for text in of_place}
        if not of_place:  # there are so few that the closest are the clearest, too
            continue
        console.rule(Text(f"{reason}: {_PLACES[place]}" if place else reason), align="left")
        for text in of_place:
            _show_text(console, text)


_PLACES = {
    "closest": "dropped, and closest to staying",
    "clearest": "dropped, and clearest",
    "closest_kept": "kept, and closest to going",
}


def _show_text(console: Console, text: ShownText) -> None:
    head = Text(f"{text.source}, row {text.row}", style="bold")
    head.append(f"  {text.language}" + (f"  id {text.id}" if text.id is not None else ""), style="not bold dim")
    for figure in text.figures:
        head.append(f"\n  {said_of(figure)}", style="not bold yellow")
    console.print(head, soft_wrap=True)
    if text.after is not None:
        for line in changes(text.text, text.after):
            style = "green" if line.startswith("+") else "red" if line.startswith("-") else "dim"
            console.print(Text(printable(line), style=style), soft_wrap=True)
    else:
        shown = Text(printable(text.text))
        for first, last in text.spans:
            shown.stylize("reverse", first, last)
        console.print(shown, soft_wrap=True)
    console.print(Text("[...]" if text.is_cut else "", style="dim"))


def said_of(figure: Figure) -> str:
    """A figure in words: ``words = 49 (stays: >= 50)``."""
    return f"{figure.name} = {figure.value:.6g} (stays: {figure.operator} {figure.threshold:g})"


def changes(before: str, after: str) -> Iterator[str]:
    """The lines that differ, with ``-`` and ``+`` in front."""
    lines = list(difflib.unified_diff(before.split("\n"), after.split("\n"), n=0, lineterm=""))[2:]
    yield from (line for line in lines if not line.startswith("@@"))


def printable(text: str) -> str:
    """A text without what a terminal takes as a command; of the same length."""
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def as_json(result: Result) -> dict[str, Any]:
    """All of a result but the documents' attributes."""
    said: dict[str, Any] = {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if field.name == "documents":
            continue
        said[field.name] = value.to_pylist() if isinstance(value, pa.Table) else _plain(value)
    return said


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def _mb(size: float) -> str:
    return (
        f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
    )
