"""Programs that tests need and no registry has ready: built or fetched once a machine, kept outside the tree."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from beam_pipeline import classifier_training


def cache() -> Path:
    """The folder of all that is kept: ``~/.cache/beam-pipeline``, or the same under ``$XDG_CACHE_HOME``."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beam-pipeline"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def made(target: Path, make: Callable[[Path], None]) -> Path:
    """A folder that is made once: ``make`` fills an empty one, which becomes it.

    Others who want the same wait; it appears whole or not at all.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            work = target.with_name(f"{target.name}.work")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            make(work)
            work.rename(target)
    return target


def go_module(folder: Path, module: str, version: str) -> None:
    """A module of its own: `go install module@version` is refused for modules with replace directives."""
    folder.mkdir()
    (folder / "go.mod").write_text(f"module local.test/build\n\ngo 1.24\n\nrequire {module} {version}\n")


def go_build(folder: Path, target: Path, *packages: str, linker_flags: str = "-s -w") -> None:
    """Builds programs of the module in a folder, static; several into a folder."""
    call(["go", "build", "-trimpath", "-ldflags", linker_flags, "-o", str(target), *packages], folder)


def trainer() -> str:
    """An interpreter that can train fastText models."""
    try:
        return classifier_training.trainer()
    except classifier_training.NoTrainer:
        call(["make", "classifier-trainer"], Path(__file__).parent.parent)
        return classifier_training.trainer()


def call(command: Sequence[str], folder: Path) -> str:
    """What a command prints.

    Raises:
      RuntimeError: it isn't on the PATH, or has failed, with the end of what it said.
    """
    if shutil.which(command[0]) is None:
        raise RuntimeError(f"the tests need {command[0]} on the PATH, for {' '.join(command[:4])}")
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} in {folder} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
