"""Where data is kept: for root outside of its home, whose rights stay as they are; with a fallback for the homeless."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest

from beam_pipeline import embedded_postgres
from beam_pipeline.commands.lineage_arguments import locate
from runners import data_folder
from tests import runs
from tests.postgres import public_folder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root's data folder is for root")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Root's home and root's data folder, both in a public folder; the home is closed to others."""
    with public_folder() as made:
        (made / "home").mkdir(mode=0o700)
        monkeypatch.setenv("HOME", str(made / "home"))
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        monkeypatch.delenv(data_folder.VARIABLE)
        monkeypatch.setattr(data_folder, "ROOTS", made / "lib" / "beam-pipeline")
        monkeypatch.setattr(embedded_postgres, "ROOTS", made / "lib" / "beam-pipeline")
        yield made / "home"
        for folder in (data_folder.ROOTS, data_folder.former()):
            embedded_postgres.stop(folder)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@as_root
def test_root_has_a_place_outside_of_its_home(home: Path) -> None:
    psycopg.connect(embedded_postgres.start()).close()
    assert data_folder.data_folder() == data_folder.ROOTS
    assert (data_folder.ROOTS / "postgresql" / "PG_VERSION").exists()
    assert mode(home) == 0o700
    assert not any(home.iterdir())


@as_root
def test_what_an_earlier_version_has_kept_in_roots_home_is_found_and_can_be_moved(home: Path) -> None:
    former = data_folder.former()
    home.chmod(0o711)  # as the earlier version did
    dsn = embedded_postgres.start(former)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    assert data_folder.data_folder() == former
    embedded_postgres.stop(former)
    home.chmod(0o700)
    with pytest.raises(embedded_postgres.EmbeddedPostgresError) as refused:
        embedded_postgres.start()
    said = str(refused.value)
    assert f"can't pass {home}" in said
    assert mode(home) == 0o700
    command = said.rpartition(": ")[2]
    assert command == f"mv {former} {data_folder.ROOTS}"
    data_folder.ROOTS.parent.mkdir()
    subprocess.run(command.split(), check=True)
    # A run's plan names the socket in the old place.
    found, _ = locate(None, None, dsn)
    with psycopg.connect(found) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (7,)


@as_root
def test_a_folder_that_the_servers_user_cannot_reach_is_refused(home: Path) -> None:
    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match=rf"can't pass {home}.*{data_folder.VARIABLE}"):
        embedded_postgres.start(home / "mine")
    assert not (home / "mine").exists()
    assert mode(home) == 0o700


@as_root
def test_programs_in_a_closed_folder_are_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = embedded_postgres.programs().parent
    package = server.parent
    shutil.copytree(server, home / package.name / server.name, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), home / f"{package.name}.libs", symlinks=True)
    monkeypatch.setattr(embedded_postgres, "programs", lambda: home / package.name / server.name / "bin")
    psycopg.connect(embedded_postgres.start()).close()
    assert mode(home) == 0o700
    assert list(data_folder.ROOTS.glob("programs-*/*/*/bin/postgres"))


def as_somebody(code: str, uid: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python as a user without groups; warnings are shown."""
    prologue = "import logging; logging.basicConfig(level=logging.WARNING)\n"
    return subprocess.run(
        [
            "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
            runs.command()[0], "-c", prologue + code,
        ],
        cwd=runs.ROOT, env={"PATH": os.environ["PATH"]} | environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


START = """
import psycopg
from beam_pipeline import embedded_postgres
psycopg.connect(embedded_postgres.start()).close()
print(embedded_postgres.data_folder())
"""


@as_root
@pytest.mark.parametrize("environment", [{}, {"HOME": "/proc"}, {"HOME": "/nonexistent"}])
def test_without_a_home_there_is_a_place_that_survives_a_restart(environment: dict[str, str]) -> None:
    nobody = 65534
    place = Path(f"/var/tmp/beam-pipeline-{nobody}")
    assert not place.exists(), "left over"
    try:
        done = as_somebody(START, nobody, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(place)
        assert f"the lineage is kept in {place}" in done.stderr
        assert data_folder.VARIABLE in done.stderr
        assert mode(place) == 0o700
    finally:
        shutil.rmtree(place, ignore_errors=True)


@as_root
def test_a_folder_of_somebody_else_in_a_public_place_is_refused() -> None:
    place = Path("/var/tmp/beam-pipeline-65534")
    place.mkdir()
    try:
        done = as_somebody(START, 65534, HOME="/proc")
        assert f"{place}: isn't a folder of user 65534" in done.stderr
    finally:
        place.rmdir()


@as_root
def test_a_data_folder_that_cannot_be_written_is_named_with_its_setting(home: Path) -> None:
    home.chmod(0o755)
    done = as_somebody(START, 65534, **{data_folder.VARIABLE: str(home / "data")})
    assert f"{home / 'data'}: Permission denied (user 65534)" in done.stderr
    assert f"set {data_folder.VARIABLE}" in done.stderr


@as_root
def test_a_user_without_a_name_is_told_that_postgresql_needs_one() -> None:
    with public_folder() as folder:
        os.chown(folder, 23_456, 23_456)
        done = as_somebody(START, 23_456, **{data_folder.VARIABLE: str(folder / "data")})
    assert "user 23456 has no name on this machine" in done.stderr
    assert "--lineage_dsn" in done.stderr
