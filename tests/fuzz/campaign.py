"""Child processes that work through mutants; one that dies or hangs is a finding, and another goes on behind it."""

from __future__ import annotations

import dataclasses
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.mutants import FILES, hot_spots, mutant

ROOT = Path(__file__).parents[2]
CHILD = [sys.executable, "-m", "tests.fuzz.child"]
HANG_SECONDS = 30.0  # a mutant takes 3 ms; a busy machine may stop a process for a while
START_SECONDS = 120.0  # imports, and compiling the kernels the first time


@dataclasses.dataclass(frozen=True)
class Finding:
    """A mutant that its process didn't survive, kept in ``path``."""

    name: str
    number: int
    what: str
    path: Path


@dataclasses.dataclass
class Done:
    """What became of one file's mutants."""

    name: str
    mutants: int
    results: int = 0
    reasons: int = 0
    seconds: float = 0.0
    findings: list[Finding] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        line = (
            f"{self.name}: {self.mutants:,} mutants, {self.results:,} read, {self.reasons:,} with a reason, "
            f"{len(self.findings)} findings ({self.seconds:.0f} s)"
        )
        return "\n".join([line, *(f"  {found.number}: {found.what} -> {found.path}" for found in self.findings)])


def fuzz(names: Sequence[str], mutants: int, folder: Path, processes: int = 1, first: int = 0) -> Iterator[Done]:
    """Spreads so many mutants over some files; what became of each file's, in order."""
    shares = [mutants // len(names) + (i < mutants % len(names)) for i in range(len(names))]
    with ThreadPoolExecutor(processes) as pool:
        yield from pool.map(lambda name, share: _of_file(name, first, first + share, folder), names, shares)


def _of_file(name: str, first: int, last: int, keep: Path) -> Done:
    done = Done(name, last - first)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        progress = folder / "progress"
        progress.write_bytes(struct.pack("<qqq", first, 0, 0))
        at = first
        while at < last:
            what = _work(folder, name, at, last)
            at, done.results, done.reasons = struct.unpack("<qqq", progress.read_bytes())
            if what:
                keep.mkdir(parents=True, exist_ok=True)
                path = keep / f"{name}-{at}"
                data = FILES[name]()
                path.write_bytes(mutant(data, hot_spots(data), name, at))
                done.findings.append(Finding(name, at, what, path))
                at += 1
    done.seconds = time.perf_counter() - started
    return done


def _work(folder: Path, name: str, first: int, last: int) -> str:
    """Runs a child from one mutant on; how it ended if that isn't well."""
    errors = folder / "errors"
    with errors.open("wb") as stderr:
        child = subprocess.Popen(
            [*CHILD, str(folder), name, str(first), str(last)],
            cwd=ROOT, stdout=stderr, stderr=stderr,
        )  # fmt: skip
        at, since, patience = b"", time.monotonic(), START_SECONDS
        while child.poll() is None:
            time.sleep(0.05)
            now = (folder / "progress").read_bytes()
            if now != at:
                patience = HANG_SECONDS if at else START_SECONDS
                at, since = now, time.monotonic()
            elif time.monotonic() - since > patience:
                child.kill()
                child.wait()
                return f"hangs: nothing for {patience:.0f} s"
    if child.returncode == 0:
        return ""
    said = errors.read_text(errors="replace").strip().splitlines()
    how = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit status {child.returncode}"
    return f"{how}: {said[-1] if said else 'no message'}"
