"""What the fault matrix has found, one row a fault and mode."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table


@dataclasses.dataclass
class Case:
    """One run: what was done to it, and how it went."""

    fault: str
    mode: str
    moment: str = ""
    passed: bool = False
    seconds: float = 0.0
    again: int = 0
    restarts: int = 0


CASES: list[Case] = []


@contextlib.contextmanager
def recorded(case: Case) -> Iterator[Case]:
    """Counts the case, as passed if the block ends without an exception."""
    CASES.append(case)
    try:
        yield case
        case.passed = True
    finally:
        state = "passed" if case.passed else "FAILED"
        Console().print(
            f"{case.mode}, {case.fault}{case.moment and ': '}{case.moment}: {state}, {case.seconds:.0f} s, "
            f"{case.again} shards done again, {case.restarts} restarts",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def table() -> Table:
    """All cases so far."""
    shown = Table(title="faults on Flink", title_justify="left")
    for name in ("fault", "mode"):
        shown.add_column(name)
    for name in ("runs", "passed", "median seconds", "shards done again", "restarts"):
        shown.add_column(name, justify="right")
    for mode, fault in dict.fromkeys((case.mode, case.fault) for case in CASES):
        cases = [case for case in CASES if (case.mode, case.fault) == (mode, fault)]
        shown.add_row(
            fault, mode, str(len(cases)), str(sum(case.passed for case in cases)),
            f"{statistics.median(case.seconds for case in cases):.0f}",
            _spread([case.again for case in cases]), _spread([case.restarts for case in cases]),
        )  # fmt: skip
    return shown


def _spread(values: list[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)} to {max(values)}"
