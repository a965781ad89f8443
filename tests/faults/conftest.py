"""Prints the table of the fault matrix when all is done."""

from __future__ import annotations

from rich.console import Console

from tests.faults import flink_report


def pytest_terminal_summary() -> None:
    if flink_report.CASES:
        Console(width=120).print(flink_report.table())
