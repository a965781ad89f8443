"""PostgreSQL as the lineage needs it: connections that come back, migrations, and arrays in binary COPY."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import psycopg
import psycopg.conninfo
import tenacity
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from schemas.errors import ToldError

Connection = psycopg.Connection[tuple[Any, ...]]
Result = TypeVar("Result")

_SECRETS = ("password", "sslpassword")
_DEFAULTS: dict[str, Any] = {
    "application_name": "beam_pipeline",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed in a minute or so, not in the two hours of the kernel's defaults.
    "keepalives_idle": 30,
    "tcp_user_timeout": 60_000,
}
# libpq gives no SQLSTATE for a refused connection. In another language of the server these are merely retried.
_HOPELESS = re.compile(r'authentication failed|no password supplied|(database|role) ".*" does not exist|pg_hba\.conf')
_TAKEN = ("42P07", "42723", "42710")  # a table, function or type of that name is there
_MIGRATION_LOCK = 0x6265616D_6C696E65  # "beamline"


class LineageUnavailable(ToldError):
    """The database couldn't be reached, or used, within the limit. What was acknowledged before is there."""


class LineageRefused(LineageUnavailable):
    """The database answers but won't do what is asked of it, however often: a right is missing, a name is taken."""


class LineageSchemaError(ToldError):
    """The database has no lineage tables, or those of another version."""


def public_dsn(dsn: str) -> str:
    """The DSN without anything secret, fit to be stored and shown.

    Raises:
      ValueError: it isn't a PostgreSQL connection string; the message doesn't repeat it.
    """
    return psycopg.conninfo.make_conninfo(
        **{key: value for key, value in _parse(dsn).items() if key not in _SECRETS and value is not None}
    )


def has_password(dsn: str) -> bool:
    """Whether the DSN carries a secret, which belongs into libpq's environment instead."""
    return any(key in _SECRETS for key in _parse(dsn))


def _parse(dsn: str) -> dict[str, Any]:
    try:
        return dict(psycopg.conninfo.conninfo_to_dict(dsn))
    except psycopg.ProgrammingError:
        raise ValueError(
            "lineage_dsn: not a PostgreSQL connection string; give one like 'host=db dbname=lineage user=me'"
        ) from None


def connect(dsn: str) -> Connection:
    """A connection for the lineage, in autocommit: transactions are explicit.

    Raises:
      ValueError: the DSN isn't one.
      psycopg.OperationalError: the server can't be reached or refuses.
    """
    connection = psycopg.connect(**(_DEFAULTS | _parse(dsn)), autocommit=True)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        database = connection.info.dbname
        connection.close()
        raise LineageSchemaError(
            f"lineage_dsn: database {database!r} has encoding {encoding}, which can't hold every URI and "
            "label; make one for the lineage: CREATE DATABASE lineage ENCODING 'UTF8' TEMPLATE template0"
        )
    for dumper in _ARRAY_DUMPERS:
        connection.adapters.register_dumper(np.ndarray, dumper)
    return connection


def retrying(attempt: Callable[[], Result], dsn: str, limit: float) -> Result:
    """What ``attempt`` returns, tried again while the server is away or other transactions are in the way.

    Args:
      attempt: does one whole transaction, connecting if need be; it may be repeated after an unacknowledged commit.
      dsn: named in the error, without its password.
      limit: seconds after which to give up.

    Raises:
      LineageUnavailable: it still failed when the limit was over, or trying again is of no use.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_passing),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        stop=tenacity.stop_after_delay(limit),
        reraise=True,
    )
    try:
        return attempts(attempt)
    except psycopg.Error as error:
        where = _parse(public_dsn(dsn))
        place = f"database {where.get('dbname', '(default)')!r} on {where.get('host', '(default host)')}"
        if not isinstance(error, psycopg.OperationalError) and not _is_passing(error):
            raise LineageRefused(f"lineage_dsn: {place}: {_said(error)}{_remedy(error)}") from error
        tried = f"given up after {limit:g} s" if _is_passing(error) else "not tried again"
        raise LineageUnavailable(
            f"lineage_dsn: {place} can't be used ({tried}): {_said(error)}. "
            "Once it can, run the same command again to go on."
        ) from error


def _said(error: psycopg.Error) -> str:
    said = error.diag.message_primary or str(error) or type(error).__name__
    return " ".join(said.split()).rstrip(".?")


def _remedy(error: psycopg.Error) -> str:
    """What to do about an error that comes again however often the statement is tried."""
    state = error.sqlstate or ""
    if state == "42501":
        return (
            ". Run init-db as a user who may make tables there (CREATE on the schema: since PostgreSQL 15 not all"
            " may on public), and grant this user the rights of docs/lineage.md, Roles"
        )
    if state == "3F000":
        return ". Grant this user USAGE on the schema of the lineage, or name another: options='-c search_path=SCHEMA'"
    if state in _TAKEN:
        return (
            ": it isn't the lineage's. Give the lineage a database of its own, or a schema: "
            "CREATE SCHEMA lineage, and options='-c search_path=lineage' in lineage_dsn"
        )
    if state.startswith("42"):
        return ". Its tables aren't those of this version of beam_pipeline: give another database, or schema"
    return ""


def _is_passing(error: BaseException) -> bool:
    """Whether the same transaction may succeed a little later."""
    if isinstance(error, psycopg.OperationalError):  # also deadlocks, serialization failures, shutdowns, full disks
        return not _HOPELESS.search(str(error))
    # The connection broke between two statements; or a standby answers while the primary is replaced.
    return isinstance(error, psycopg.InterfaceError | psycopg.errors.ReadOnlySqlTransaction)


def migrations() -> list[tuple[int, str, str]]:
    """Version, name and text of each migration in ``schemas/sql``, in order."""
    folder = importlib.resources.files("schemas") / "sql"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [(int(entry.name.split("_")[0]), entry.name, entry.read_text("utf-8")) for entry in files]


def migrate(connection: Connection) -> None:
    """Brings the lineage's tables to this version; does nothing if they are. Safe to be called by many at once.

    Raises:
      LineageSchemaError: the tables are of a newer version, or were made by a migration that has changed since.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        if not _schema_exists(connection):
            connection.execute(
                "CREATE TABLE lineage_migrations (version integer PRIMARY KEY, name text NOT NULL,"
                " sha256 text NOT NULL, applied timestamptz NOT NULL DEFAULT now())"
            )
        applied = _applied(connection)
        for version, name, text in migrations():
            if version in applied:
                continue
            connection.execute(text.encode())
            connection.execute(
                "INSERT INTO lineage_migrations (version, name, sha256) VALUES (%s, %s, %s)",
                (version, name, _hash(text)),
            )


def check_schema(connection: Connection) -> None:
    """Makes sure that the lineage's tables are there and of this version; needs no more than the right to read.

    Raises:
      LineageSchemaError: they aren't.
    """
    applied = _applied(connection) if _schema_exists(connection) else set()
    missing = [name for version, name, _ in migrations() if version not in applied]
    if missing:
        state = f"lacks {', '.join(missing)}" if applied else "has no lineage in it"
        raise LineageSchemaError(
            f"lineage_dsn: database {connection.info.dbname!r} {state}; is it the one the run wrote to? "
            "The first run with this version of beam_pipeline makes the tables."
        )


_RIGHTS = {
    "runs": ("SELECT", "INSERT", "UPDATE"),
    "outcomes": ("SELECT", "INSERT"),
    "sources": ("SELECT", "INSERT", "UPDATE"),
    "segments": ("SELECT", "INSERT", "UPDATE"),
    "event_streams": ("SELECT", "INSERT", "UPDATE"),
    "outbox": ("SELECT", "INSERT", "DELETE"),
    "products": ("SELECT", "INSERT", "UPDATE"),
}
"""What a run does with the tables, from its start to its end."""
_RIGHTS_OF_CORPORA = dict.fromkeys(
    ("corpora", "corpus_runs", "corpus_sources"), ("SELECT", "INSERT", "UPDATE", "DELETE")
)
"""What a run of a corpus does with its ledger."""


def check_rights(connection: Connection, *, corpora: bool = False) -> None:
    """Makes sure that a run may write all it has to, before it works for hours.

    Args:
      corpora: it is of a corpus, and also writes its ledger.

    Raises:
      LineageSchemaError: it may not; the message has the statements that grant what is missing.
    """
    user, database, temporary, partitions = connection.execute(
        "SELECT quote_ident(current_user), quote_ident(current_database()),"
        " has_database_privilege(current_database(), 'TEMPORARY'),"
        " has_function_privilege('create_run_partitions(uuid)', 'EXECUTE')"
    ).fetchall()[0]
    missing = [
        f"GRANT {right} ON {table} TO {user}"
        for table, rights in (_RIGHTS | (_RIGHTS_OF_CORPORA if corpora else {})).items()
        for right in rights
        if connection.execute("SELECT has_table_privilege(%s, %s)", (table, right)).fetchone() != (True,)
    ]
    if not temporary:
        missing.append(f"GRANT TEMPORARY ON DATABASE {database} TO {user}")
    if not partitions:
        missing.append(f"GRANT EXECUTE ON FUNCTION create_run_partitions TO {user}")
    if missing:
        raise LineageSchemaError(
            f"lineage_dsn: user {user} may not write the lineage into database {database}. Its owner can allow it "
            f"(docs/lineage.md, Roles): {'; '.join(missing)}"
        )


def _schema_exists(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('lineage_migrations') IS NOT NULL").fetchone() == (True,)


def _applied(connection: Connection) -> set[int]:
    known = {version: (name, _hash(text)) for version, name, text in migrations()}
    rows = connection.execute("SELECT version, name, sha256 FROM lineage_migrations ORDER BY version").fetchall()
    for version, name, digest in rows:
        if version not in known:
            raise LineageSchemaError(
                f"lineage_dsn: database {connection.info.dbname!r} has migration {name}, which this version of "
                "beam_pipeline doesn't know; use the newer version that made it"
            )
        if known[version][1] != digest:
            raise LineageSchemaError(
                f"lineage_dsn: migration {known[version][0]} isn't the one that database "
                f"{connection.info.dbname!r} was made with; use the version of beam_pipeline that made it, or "
                "another database"
            )
    return {version for version, _, _ in rows}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _ArrayDumper(Dumper):
    """A one-dimensional numpy array as an array of fixed-size elements in PostgreSQL's binary format."""

    format = Format.BINARY
    element_oid: int
    element: np.dtype[Any]

    def dump(self, obj: np.ndarray[Any, Any]) -> Buffer:
        """Dimensions, flags, element type; length and lower bound; then each element with its length before it."""
        if not len(obj):
            return np.array([0, 0, self.element_oid], ">i4").tobytes()
        header = np.array([1, 0, self.element_oid, len(obj), 1], ">i4").tobytes()
        elements = np.empty(len(obj), np.dtype([("length", ">i4"), ("value", self.element)]))
        elements["length"] = self.element.itemsize
        elements["value"] = obj
        return header + elements.tobytes()


def _array_dumper(type_name: str, element: str) -> type[_ArrayDumper]:
    info = psycopg.adapters.types[type_name]
    attributes = {"oid": info.array_oid, "element_oid": info.oid, "element": np.dtype(element)}
    return type(f"_{type_name.strip(chr(34)).title()}ArrayDumper", (_ArrayDumper,), attributes)


_ARRAY_DUMPERS = [
    _array_dumper('"char"', "u1"),
    _array_dumper("int2", ">i2"),
    _array_dumper("int4", ">i4"),
    _array_dumper("int8", ">i8"),
    _array_dumper("float4", ">f4"),
]
# For ``Copy.set_types``, which knows no name for an array of "char".
CHAR_ARRAY, INT2_ARRAY, INT4_ARRAY, INT8_ARRAY, FLOAT4_ARRAY = (dumper.oid for dumper in _ARRAY_DUMPERS)
