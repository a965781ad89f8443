"""Workers are forked from a process that has imported what they need; nobody outlives whom it works for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from beam_pipeline.sample import tokenizer_path
from runners import own_folder
from tests import runs

SECONDS = 300
"""The most that anything here is waited for."""

BEGIN = """
import sys, time
from pathlib import Path
from runners import forked_workers, worker_main

worker_main.set_up()
"""
EARLY = "forked_workers.fork_early()"
SERVICE = """
import concurrent.futures, grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc

class Service(beam_fn_api_pb2_grpc.BeamFnControlServicer):
    def Control(self, answers, context):
        for _ in answers:  # nothing is asked, so none comes
            yield from ()

service = grpc.server(concurrent.futures.ThreadPoolExecutor())
port = service.add_insecure_port("localhost:0")
beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(Service(), service)
service.start()
environment = {"WORKER_ID": "1", "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "localhost:{port}"'}
log = Path(sys.argv[1])
"""
"""What workers ask for work, which never has any: a worker waits until it is ended."""
WAITING = "worker = forked_workers.start_worker(environment, log=log); print(worker.pid, flush=True); time.sleep(600)"


def starter(code: str, log: Path, before: str = EARLY + SERVICE) -> list[str]:
    return [sys.executable, "-c", BEGIN + before + code, str(log)]


def until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def ended(process: psutil.Process) -> bool:
    """Whether it does nothing any more; whose child it has become may leave it a zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def python(code: str, log: Path, before: str = EARLY + SERVICE) -> list[str]:
    """What a process that starts workers prints, line by line; it has ended well."""
    done = subprocess.run(
        starter(code, log, before), cwd=runs.ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_worker_is_a_copy_and_its_owner_learns_how_it_ended(tmp_path: Path) -> None:
    said = python(
        """
import os, psutil
server, = psutil.Process().children()
for end in (lambda worker: worker.kill(), lambda worker: worker.terminate()):
    worker = forked_workers.start_worker(environment, quiet=True, log=log)
    process = psutil.Process(worker.pid)
    print(process.ppid() == server.pid, process.cmdline() == psutil.Process().cmdline())
    try:
        worker.wait(0.2)
    except Exception as error:
        print(type(error).__name__)
    end(worker)
    print(worker.wait(), worker.wait(), psutil.pid_exists(worker.pid))
    worker.kill()  # nothing happens
""",
        tmp_path / "log",
    )
    assert said == ["True True", "TimeoutExpired", "-9 -9 False", "True True", "TimeoutExpired", "-15 -15 False"]


def test_a_worker_has_the_environment_the_folder_and_the_log_of_its_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    said = python(
        """
import os, psutil
os.chdir(log.parent)
worker = forked_workers.start_worker(environment, log=log)
until = time.monotonic() + 250
while "Python sdk harness starting" not in log.read_text() and time.monotonic() < until:
    time.sleep(0.05)
process = psutil.Process(worker.pid)
print(process.cwd() == str(log.parent), process.name())
worker.kill()
worker.wait()
failing = forked_workers.start_worker({"WORKER_ID": "2"}, log=log)  # without a control service
print(failing.wait())
""",
        log,
    )
    assert said == ["True beam-worker", "1"]
    assert "KeyError: 'CONTROL_API_SERVICE_DESCRIPTOR'" in log.read_text()


@pytest.mark.parametrize("before", [EARLY + SERVICE, SERVICE], ids=["forked", "with an interpreter of its own"])
def test_nothing_is_left_of_an_owner_that_is_killed(tmp_path: Path, before: str) -> None:
    command = starter(WAITING, tmp_path / "log", before)
    with subprocess.Popen(command, cwd=runs.ROOT, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            worker = psutil.Process(int(owner.stdout.readline()))
            server = worker.parent()
            assert server is not None
            assert server.ppid() == owner.pid
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as a terminal does, to all
                server.send_signal(number)
            assert server.is_running()
        finally:
            owner.kill()
    until(lambda: ended(worker) and ended(server), "worker and server have ended")


def test_without_its_server_a_worker_ends_and_the_next_one_has_another(tmp_path: Path) -> None:
    said = python(
        """
import psutil
server, = psutil.Process().children()
worker = forked_workers.start_worker(environment, log=log)
server.kill()
print(worker.wait())
again = forked_workers.start_worker(environment, log=log)
named, until = psutil.Process(again.pid), time.monotonic() + 60  # it names itself, a moment after the fork
while named.name() != "beam-worker" and time.monotonic() < until:
    time.sleep(0.01)
print(named.name())
again.kill()
print(again.wait())
""",
        tmp_path / "log",
    )
    assert said == ["-9", "beam-worker", "-9"]


def test_a_server_with_threads_starts_interpreters(tmp_path: Path) -> None:
    said = python(
        """
import _thread, functools, psutil, time
forked_workers.load_early(functools.partial(_thread.start_new_thread, time.sleep, (600,)))
worker = forked_workers.start_worker(environment, quiet=True, log=log)
while not psutil.Process(worker.pid).cmdline():  # it is just about to be an interpreter
    time.sleep(0.01)
print("runners.worker_main" in " ".join(psutil.Process(worker.pid).cmdline()))
worker.kill()
print(worker.wait())
""",
        tmp_path / "log",
    )
    assert said == ["True", "-9"]


def test_what_a_run_loads_early_starts_no_thread(tmp_path: Path) -> None:
    """Else its workers would be interpreters."""
    said = python(
        """
import os
from beam_pipeline.sample import tokenizer_path
from transforms import warm_up
from transforms.fingerprint import Fingerprint
from transforms.identify_language import IdentifyLanguage
from transforms.normalize import Normalize
from transforms.tokenize import Tokenization, Tokenize

tokenization = Tokenization.from_file(str(tokenizer_path()))
warm_up.load([Normalize(), IdentifyLanguage(), Fingerprint(), Tokenize(tokenization)])
print(len(os.listdir("/proc/self/task")))
first, second = tokenization.load(), tokenization.load()
print(first is second)
""",
        tmp_path,
        before="",
    )
    assert said == ["1", "False"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    runs.write_corpus(folder, files=2, documents=400)
    return folder


def started(source: Path, output: Path, temporary: Path, *flags: object) -> subprocess.Popen[str]:
    temporary.mkdir()
    return subprocess.Popen(
        runs.command("--input", source, "--output", output, "--tokenizer", tokenizer_path(), *flags),
        cwd=runs.ROOT, env=os.environ | {"TMPDIR": str(temporary)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def left_in(temporary: Path) -> list[str]:
    """What a command has left among temporary files, but for what is to outlive it: the database, compiled kernels."""
    meant = ("beam_pipeline-", "beam-pipeline-kernels-")
    return [path.name for path in temporary.iterdir() if not path.name.startswith(meant)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_finished_command_leaves_no_temporary_files(source: Path, tmp_path: Path, workers: int) -> None:
    with started(source, tmp_path / "out", tmp_path / "tmp", "--direct_num_workers", workers) as command:
        said, _ = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, said
    assert left_in(tmp_path / "tmp") == []


def test_a_command_that_is_killed_leaves_no_temporary_files(source: Path, tmp_path: Path) -> None:
    temporary, flags = tmp_path / "tmp", ("--direct_num_workers", 2, "--shard_bytes", "20KiB")
    with started(source, tmp_path / "out", temporary, *flags) as command:
        try:
            until(lambda: bool(left_in(temporary)) or command.poll() is not None, "it is at work")
            [at_work] = psutil.Process(command.pid).children()  # below the process that says what became of it
            at_work.kill()
            said, _ = command.communicate(timeout=SECONDS)
        finally:
            command.kill()
    assert "killed by signal 9" in said
    assert left_in(temporary) == []


def test_abandoned_folders_are_removed_by_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = "from runners.own_folder import *; print(own_folder(), flush=True); import time; time.sleep(600)"
    command, environment = [sys.executable, "-c", code], os.environ | {"TMPDIR": str(tmp_path)}
    folders = []
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            owner = stack.enter_context(
                subprocess.Popen(command, cwd=runs.ROOT, env=environment, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(owner.kill)
            assert owner.stdout is not None
            folders.append(Path(owner.stdout.readline().strip()))
        (folders[1] / "of beam").mkdir()
        own_folder.remove_abandoned()
        assert all(folder.is_dir() for folder in folders)
        owner.kill()
        owner.wait()
        own_folder.remove_abandoned()
        assert [folder.is_dir() for folder in folders] == [True, False]


def test_what_beam_forgets_goes_with_the_process(tmp_path: Path) -> None:
    code = """
import apache_beam as beam, tempfile
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability import job_server
from apache_beam.runners.portability.stager import Stager
from beam_pipeline.options import beam_options
from runners.own_folder import own_folder

beam.Pipeline(options=beam_options([]))  # built, and not run

class Server(job_server.SubprocessJobServer):
    def subprocess_cmd_and_endpoint(self):
        raise OSError("no Java")

try:
    job_server.StopOnExitJobServer(Server()).start()
except OSError:
    pass
Stager.create_job_resources(PipelineOptions([]), tempfile.mkdtemp(dir=own_folder()))
print(len(list(own_folder().iterdir())))
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=runs.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 4  # of the pipeline, the server and the stager, and the lock
    assert list(tmp_path.iterdir()) == []
