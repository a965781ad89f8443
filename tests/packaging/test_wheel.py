"""A wheel, installed into an empty environment and used outside the checkout, runs the demo (make test-wheel; PyPI)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment that has the wheel and what it needs, nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / "bin"
    install = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], check=True, env=_variables())
    return binaries


def _variables() -> dict[str, str]:
    """Without the checkout, which pip would take for installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def call(environment: Path, cwd: Path, *command: object) -> str:
    variables = _variables() | {"BEAM_PIPELINE_DATA_DIR": str(cwd / "data")}
    done = subprocess.run(
        [str(environment / str(command[0])), *map(str, command[1:])],
        cwd=cwd, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_demo_runs(environment: Path, tmp_path: Path) -> None:
    for name in ("schemas", "transforms", "runners"):
        (tmp_path / name).mkdir()  # of the user's, and empty
    call(environment, tmp_path, "beam-pipeline", "demo")
    counts = json.loads((tmp_path / "out" / "demo" / "run.json").read_text())["counts"]
    assert counts["kept"] > 100


def test_the_module_and_the_script_are_one(environment: Path, tmp_path: Path) -> None:
    by_script = call(environment, tmp_path, "beam-pipeline", "--help")
    assert by_script == call(environment, tmp_path, "python", "-m", "beam_pipeline", "--help")
    assert "--input" in by_script


def test_type_checkers_find_the_types(environment: Path, tmp_path: Path) -> None:
    place = "Path(beam_pipeline.__file__).parent / 'py.typed'"
    asked = f"import beam_pipeline; from pathlib import Path; print(({place}).exists())"
    assert call(environment, tmp_path, "python", "-c", asked).strip() == "True"
