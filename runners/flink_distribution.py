"""What Flink needs that pip doesn't install: the distribution and Beam's job server, made once and kept in a cache.

Both are in ``~/.cache/beam-pipeline/`` (``$XDG_CACHE_HOME``) under names that carry their versions, appear whole or not
at all, and take about 400 MB.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

FLINK_LINE = "1.19"
"""The newest Flink for which a job server of Beam resolves whole from Maven Central."""

JOB_SERVER_BEAM = "2.62.0"
"""The Beam of the job server. It is older than the installed SDK's: the two speak Beam's portability protocol, which
joins different versions. docs/flink.md says what was tested against what."""

FLINK_VERSION = "1.19.3"
FLINK_ARCHIVE_SHA256 = "4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60"

LOGGER = logging.getLogger(__name__)


class FlinkUnavailable(Exception):
    """A part of Flink can't be had; the message says which and what to do."""


def flink_home() -> Path:
    """The Flink distribution: a folder with ``lib`` and ``plugins``, web UI included, but without its shell scripts.

    The first call fetches 230 MB from PyPI, whose source archive ``apache-flink-libraries`` has it whole.

    Raises:
      FlinkUnavailable: it can't be fetched.
    """
    with _cached(f"flink-{FLINK_VERSION}") as target:
        if not target.exists():
            LOGGER.info("fetching Flink %s from PyPI (230 MB, once)", FLINK_VERSION)
            with _work_folder(target) as work:
                _fetch_flink(work)
                (work / "flink" / "deps").rename(target)
    return target


def s3_plugins() -> Path:
    """A folder of Flink plugins with the one that keeps checkpoints in S3.

    The first call fetches it (30 MB) with Maven.

    Raises:
      FlinkUnavailable: Maven is missing, or it can't be fetched.
    """
    with _cached(f"flink-{FLINK_VERSION}-s3") as target:
        if not target.exists():
            LOGGER.info("fetching Flink's S3 plugin with Maven (30 MB, once)")
            with _work_folder(target) as work:
                artifact = f"-Dartifact=org.apache.flink:flink-s3-fs-hadoop:{FLINK_VERSION}"
                folder = f"-DoutputDirectory={work / 'plugins' / 's3-fs-hadoop'}"
                _call([_maven(), "--batch-mode", "--quiet", "dependency:copy", artifact, folder], work)
                (work / "plugins").rename(target)
    return target


def job_server_jar() -> Path:
    """Beam's job server for Flink, of the version ``JOB_SERVER_BEAM``.

    The first call builds it with Maven: about 160 jars are fetched, 100 s.

    Raises:
      FlinkUnavailable: Java or Maven is missing, or the build failed.
    """
    with _cached(f"flink-{FLINK_LINE}-job-server-{JOB_SERVER_BEAM}.jar") as target:
        if not target.exists():
            LOGGER.info("building Beam's job server for Flink %s with Maven (100 s, once)", FLINK_LINE)
            with _work_folder(target) as work:
                _build_job_server(work)
                (work / "target" / "job-server.jar").rename(target)
    return target


def java() -> str:
    """The Java launcher.

    Raises:
      FlinkUnavailable: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        raise FlinkUnavailable("Flink needs Java 11 or 17: `apt-get install openjdk-17-jre-headless`, or set JAVA_HOME")
    return found


@contextlib.contextmanager
def _cached(name: str) -> Iterator[Path]:
    """The path of a part in the cache, while nobody else makes it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - Path's raises
    folder = cache / "beam-pipeline"
    try:
        if not cache.is_absolute():
            raise FlinkUnavailable(f"user {os.geteuid()} has no home folder: set XDG_CACHE_HOME to a folder for Flink")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlinkUnavailable(f"{folder}: {error.strerror}; set XDG_CACHE_HOME to a folder for Flink") from error
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / name


@contextlib.contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    work = target.with_name(f"{target.name}.work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch_flink(work: Path) -> None:
    pinned = work / "requirements.txt"
    pinned.write_text(f"apache-flink-libraries=={FLINK_VERSION} --hash=sha256:{FLINK_ARCHIVE_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    _call([*command, "--no-binary", "apache-flink-libraries", "--dest", str(work), "-r", str(pinned)], work)
    [archive] = work.glob("apache*flink*.tar.gz")
    with tarfile.open(archive) as packed:
        top = packed.getnames()[0].partition("/")[0]
        wanted = [member for member in packed if member.name.startswith((f"{top}/deps/lib/", f"{top}/deps/plugins/"))]
        # Debian's 3.11 hasn't got it; pip has checked the archive's hash anyway.
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(work, wanted)
    (work / top).rename(work / "flink")


def _build_job_server(work: Path) -> None:
    java()
    shutil.copy(Path(__file__).parent / "pom.xml", work)
    versions = [f"-Dbeam.version={JOB_SERVER_BEAM}", f"-Dflink.line={FLINK_LINE}"]
    _call([_maven(), "--batch-mode", "--quiet", "package", *versions], work)


def _maven() -> str:
    found = shutil.which("mvn")
    if found is None:
        raise FlinkUnavailable(
            "parts of Flink come by Maven: `apt-get install maven` (or give the job server that Beam publishes by "
            "--flink_job_server_jar)"
        )
    return found


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FlinkUnavailable(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
