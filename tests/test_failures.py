"""Whatever ends a command is a sentence with file, setting and remedy, and never a stack."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest

from beam_pipeline import failures
from beam_pipeline.plan import PlanError
from beam_pipeline.sample import tokenizer_path
from tests import runs
from tests.lineage_examples import OUTCOMES, RUN
from tests.postgres import Server, public_folder
from transforms.io.lineage import Lineage, LineageSchemaError, LineageUnavailable
from transforms.io.storage import NotFound, WrongUri

STRANGER = 23_456
"""A uid without a line in /etc/passwd."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (PlanError("input: nothing"), 2, "input: nothing"),
        (NotFound("/a/b", "there is no such file"), 1, "/a/b: there is no such file"),
        (WrongUri("gs://a", "isn't supported"), 2, "gs://a: isn't supported"),
        (ValueError("--row: 5 isn't a row"), 2, "--row: 5 isn't a row"),
        (PermissionError(errno.EACCES, "Permission denied", "/etc/x"), 1, "/etc/x: Permission denied; give user"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), 1, "/tmp/x: No space left on device; make room"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 1, "/x: Read-only file system; choose a place"),
        (KeyError("gone"), 1, "KeyError: 'gone'\nNobody has foreseen this"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
        (MemoryError(), 1, "out of memory"),
    ],
)
def test_every_error_is_a_sentence(error: BaseException, status: int, said: str) -> None:
    failure = failures.of(error)
    assert failure.status == status
    assert failure.sentence.startswith(said)


def test_what_nobody_has_foreseen_is_told_with_its_place() -> None:
    with pytest.raises(TypeError) as raised:
        failures.readable(None)  # type: ignore[arg-type]
    assert re.match(r"TypeError at beam_pipeline/failures\.py:\d+: ", failures.of(raised.value).sentence)


def test_before_work_every_refusal_is_wrong_usage() -> None:
    for error in (
        NotFound("/a", "gone"),
        ValueError("tokenizer: not one"),
        PermissionError(13, "Permission denied", "/a"),
    ):
        with pytest.raises(Exception) as raised, failures.before_work():
            raise error
        assert failures.of(raised.value).status == 2


def refused(*arguments: object, status: int = 2, **environment: str) -> str:
    """What the command says as it ends with this status: a sentence, no stack."""
    done = subprocess.run(
        runs.command(*arguments), cwd=runs.ROOT, env=runs.environment(**environment), capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 6
    return done.stderr


@pytest.fixture
def source(tmp_path: Path) -> Path:
    runs.write_corpus(tmp_path / "in", files=1, documents=50)
    return tmp_path / "in"


def test_a_name_that_is_not_utf8_is_named(source: Path, tmp_path: Path) -> None:
    odd = os.fsencode(source) + b"/caf\xe9.parquet"
    shutil.copy(source / "part-0.parquet", odd)
    said = refused("--input", source, "--output", tmp_path / "out", "--tokenizer", tokenizer_path())
    assert repr(odd) in said
    assert "rename it" in said
    assert not (tmp_path / "out").exists()


# PostgreSQL. ----------------------------------------------------------------------------------------------------


@pytest.fixture
def own_database(postgres: Server) -> Iterator[str]:
    """The DSN of the superuser for a database of a test's own, which has a login ``somebody`` beside."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = 'somebody'").fetchone():
            connection.execute("CREATE ROLE somebody LOGIN")
    yield psycopg.conninfo.make_conninfo(postgres.dsn, dbname=name)
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute("DROP ROLE somebody")


def somebody(dsn: str) -> str:
    return psycopg.conninfo.make_conninfo(dsn, user="somebody")


def as_owner(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_a_schema_in_which_nothing_may_be_made(own_database: str) -> None:
    with (
        Lineage(somebody(own_database), retry_seconds=5) as lineage,
        pytest.raises(LineageUnavailable, match=r"permission denied for schema public.*init-db.*CREATE on the schema"),
    ):
        lineage.migrate()


def test_the_command_says_it_before_any_work(own_database: str, source: Path, tmp_path: Path) -> None:
    said = refused(
        "--input", source, "--output", tmp_path / "out", "--tokenizer", tokenizer_path(),
        "--lineage_dsn", somebody(own_database),
    )  # fmt: skip
    assert "permission denied for schema public" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("taken", "granted"),
    [
        ("REVOKE SELECT ON segments FROM somebody", "GRANT SELECT ON segments TO somebody"),
        ("REVOKE INSERT ON runs FROM somebody", "GRANT INSERT ON runs TO somebody"),
        (
            "REVOKE EXECUTE ON FUNCTION create_run_partitions FROM somebody",
            "GRANT EXECUTE ON FUNCTION create_run_partitions TO somebody",
        ),
        ("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC", "GRANT TEMPORARY ON DATABASE {database} TO somebody"),
    ],
)
def test_a_right_that_is_missing_is_named_before_any_work(own_database: str, taken: str, granted: str) -> None:
    database = psycopg.conninfo.conninfo_to_dict(own_database)["dbname"]
    with Lineage(own_database) as owner:
        owner.migrate()
    as_owner(
        own_database,
        "GRANT SELECT, INSERT, UPDATE ON runs, outcomes, sources, segments TO somebody",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON event_streams, outbox, products TO somebody",
        "GRANT SELECT ON lineage, lineage_migrations TO somebody",
        "GRANT EXECUTE ON FUNCTION create_run_partitions TO somebody",
    )
    with Lineage(somebody(own_database), retry_seconds=5) as lineage:
        lineage.migrate()
        lineage.check_rights()
        as_owner(own_database, taken.format(database=database))
        statement = granted.format(database=database)
        with pytest.raises(LineageSchemaError, match=re.escape(statement)):
            lineage.check_rights()
        as_owner(own_database, statement)
        lineage.check_rights()
        lineage.start_run(RUN, {}, "hash", "1", OUTCOMES)
        with pytest.raises(LineageSchemaError, match="GRANT DELETE ON corpus_sources TO somebody"):
            lineage.check_rights(corpora=True)
        as_owner(
            own_database,
            "GRANT SELECT, INSERT, UPDATE, DELETE ON corpora, corpus_runs, corpus_sources TO somebody",
        )
        lineage.check_rights(corpora=True)


def test_tables_that_may_not_be_read(own_database: str) -> None:
    with Lineage(own_database) as owner:
        owner.migrate()
    with (
        Lineage(somebody(own_database), retry_seconds=5) as lineage,
        pytest.raises(LineageUnavailable, match=r"permission denied for table.*docs/lineage\.md, Roles"),
    ):
        lineage.check_schema()


def test_a_table_of_somebody_else(own_database: str) -> None:
    as_owner(own_database, "CREATE TABLE runs (id integer)")
    with (
        Lineage(own_database, retry_seconds=5) as lineage,
        pytest.raises(LineageUnavailable, match=r"runs. already exists: it isn't the lineage's.*search_path"),
    ):
        lineage.migrate()
    as_owner(own_database, "CREATE SCHEMA lineage")
    with Lineage(psycopg.conninfo.make_conninfo(own_database, options="-c search_path=lineage")) as apart:
        apart.migrate()
        apart.check_rights()


def test_a_database_that_cannot_hold_every_letter(postgres: Server) -> None:
    name = f"latin_{uuid.uuid4().hex[:12]}"
    as_owner(postgres.dsn, f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    dsn = psycopg.conninfo.make_conninfo(postgres.dsn, dbname=name)
    try:
        with (
            Lineage(dsn, retry_seconds=5) as lineage,
            pytest.raises(LineageSchemaError, match=r"LATIN1.*ENCODING 'UTF8'"),
        ):
            lineage.migrate()
    finally:
        as_owner(postgres.dsn, f"DROP DATABASE {name}")


# Homes, disks and installations. --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The project in a folder that only its owner may write, without compiled kernels."""
    with public_folder() as folder:
        for name in ("beam_pipeline", "transforms", "runners", "schemas"):
            shutil.copytree(runs.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX,go-w", folder], check=True)
        yield folder


def as_stranger(installed: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command as a user without a name and without a home, who may read the interpreter wherever it is."""
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    identity = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", *reading]
    done = subprocess.run(
        [*identity, sys.executable, "-m", "beam_pipeline", *map(str, arguments)],
        cwd=installed, env={"PATH": os.environ["PATH"]} | environment, capture_output=True, text=True, timeout=1200,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary folder of the stranger's."""
    with public_folder() as folder:
        os.chown(folder, STRANGER, STRANGER)
        yield folder


@as_root
@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/nonexistent"}, {"HOME": "/proc"}])
def test_without_a_home_and_a_name_help_is_there(installed: Path, temporary: Path, home: dict[str, str]) -> None:
    done = as_stranger(installed, "--help", TMPDIR=str(temporary), **home)
    assert done.returncode == 0
    assert "--tokenizer" in done.stdout
    assert f"kept in {temporary}" in done.stderr
    assert "NUMBA_CACHE_DIR" in done.stderr
    assert not (installed / "~").exists()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 5 MB."""
    with public_folder() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", folder], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("file systems can't be mounted here")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_named(small_disk: Path, tmp_path: Path) -> None:
    runs.write_corpus(tmp_path / "in", files=1, documents=3000)
    (small_disk / "ballast").write_bytes(b"x" * 4_700_000)
    arguments = ("--input", tmp_path / "in", "--output", small_disk / "out", "--tokenizer", tokenizer_path())
    said = refused(*arguments, "--direct_num_workers", 1, status=1)
    assert re.search(rf"{small_disk}/out/\S+: no space left on the device \(\d", said)
    assert "make room" in said
    assert not list(small_disk.rglob(".*.unfinished"))
    (small_disk / "ballast").unlink()
    runs.run(tmp_path / "in", small_disk / "out", "--direct_num_workers", 1)
