"""A Flink cluster on this machine: JobManager with web UI, TaskManagers, a worker pool beside each, and a job server.

For trials and tests; processes, ports, memory and failures are as on a real cluster. Everything is in one folder:

    cluster.json          ports, sizes and process ids
    conf/, hosts-N        configuration
    logs/                 one log a process, worker-*.log of each Python worker in workers-N/
    checkpoints/, tmp/

TaskManagers ask for their workers under one name, as in Kubernetes, where it is ``localhost`` and each pod has its own.
Here each TaskManager's Java has a hosts file (``jdk.net.hosts.file``) where the name is a loopback address of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import yaml

from runners.data_folder import data_folder
from runners.flink_distribution import flink_home, java, job_server_jar, s3_plugins
from runners.flink_memory import JOB_MANAGER, JOB_MANAGER_JAVA, TaskManagerMemory
from runners.own_processes import module_command

WORKERS_NAME = "sdk-workers"

_START_SECONDS = 600  # half a minute, unless the machine has much else to do; a process that ends is noticed at once
_ATTEMPTS = 3
_PORTS = ("rest", "rpc", "workers", "job", "artifact", "expansion")
_TAKEN = re.compile("java.net.BindException|Failed to bind to address")  # Flink and the job server; Python's gRPC

_OPENED = "lang net io nio lang.reflect text time util util.concurrent util.concurrent.atomic util.concurrent.locks"
_JAVA_OPTIONS = [  # Java 17 closes what Flink 1.19 reflects on; short-lived processes start faster with C1 only
    "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED.split()),
]  # fmt: skip

_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = File
appender.file.name = File
appender.file.type = File
appender.file.fileName = ${sys:log.file}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


_children: dict[int, subprocess.Popen[bytes]] = {}  # what this process has started, to be reaped when it ends


class ClusterError(Exception):
    """The cluster can't be started; the message says which process and where its log is."""


def default_folder() -> Path:
    """Where the cluster is, unless told otherwise: beside the embedded PostgreSQL."""
    return data_folder() / "flink"


@dataclasses.dataclass
class Cluster:
    """The cluster in a folder, running or not.

    Attributes:
      folder: all its state and logs.
      task_managers, slots: its size, counted in slots a TaskManager; kept from the first ``up`` until ``down``.
      checkpoints: URI of where they go, ``s3://`` or ``file://``; kept like its size.
      ports: by what listens there.
      processes: id and start time by name: ``jobmanager``, ``taskmanager-N``, ``workers-N``, ``job-server``.
    """

    folder: Path
    task_managers: int = 2
    slots: int = 1
    checkpoints: str = ""
    ports: dict[str, int] = dataclasses.field(default_factory=dict)
    processes: dict[str, tuple[int, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path | None = None) -> Cluster:
        """The cluster of a folder; one that doesn't run if there is none."""
        folder = (folder or default_folder()).expanduser().resolve()
        try:
            state = json.loads((folder / "cluster.json").read_text())
        except FileNotFoundError:
            return cls(folder)
        state["processes"] = {name: (pid, started) for name, (pid, started) in state["processes"].items()}
        return cls(folder, **state)

    @property
    def rest_address(self) -> str:
        """HOST:PORT of the web UI and the REST API."""
        return f"127.0.0.1:{self.ports['rest']}"

    @property
    def job_endpoint(self) -> str:
        """HOST:PORT of the job server."""
        return f"127.0.0.1:{self.ports['job']}"

    @property
    def environment_config(self) -> str:
        """HOST:PORT at which each TaskManager finds its own worker pool."""
        return f"{WORKERS_NAME}:{self.ports['workers']}"

    def names(self) -> Iterator[str]:
        """The names of its processes, in the order in which they start."""
        yield "jobmanager"
        for number in range(1, self.task_managers + 1):
            yield f"workers-{number}"
            yield f"taskmanager-{number}"
        yield "job-server"

    def is_running(self, name: str) -> bool:
        """Whether one of its processes runs."""
        return self._process(name) is not None

    def pid(self, name: str) -> int | None:
        """The id of one of its processes, if it runs."""
        process = self._process(name)
        return process.pid if process else None

    def up(self, task_managers: int = 2, slots: int = 1, checkpoints: str = "") -> None:
        """Starts what doesn't run and waits until jobs can be submitted. A cluster that runs keeps its size and ports.

        Args:
          checkpoints: ``s3://BUCKET/PREFIX`` to keep them in S3, with the endpoint and credentials of the standard AWS
            environment; by default they are in the cluster's folder.

        Raises:
          ClusterError: a process didn't start.
          FlinkUnavailable: a part of Flink can't be had.
        """
        for attempts_left in reversed(range(_ATTEMPTS)):
            new = not any(self.is_running(name) for name in self.names())
            if new:
                self.task_managers, self.slots, self.processes = task_managers, slots, {}
                self.checkpoints = checkpoints or f"file://{self.folder / 'checkpoints'}"
                self.ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
            self._configure()
            for name in self.names():
                if not self.is_running(name):
                    self._start(name)
            try:
                self._wait_until_ready()
                return
            except ClusterError:
                if not (new and attempts_left and self._port_was_taken()):
                    raise
                self.down()

    def _port_was_taken(self) -> bool:
        """Whether a process said so: another program can take a port between our choice and the start."""
        logs = (path for path in (self.folder / "logs").iterdir() if path.is_file())
        return any(_TAKEN.search(path.read_text(errors="replace")) for path in logs)

    def down(self) -> None:
        """Ends all its processes, workers included. Logs and checkpoints stay until the next ``up``."""
        for name in reversed(list(self.names())):
            process = self._process(name)
            if process is not None:
                os.killpg(process.pid, signal.SIGKILL)  # a trial cluster has nothing to save; pools have children
                _await_end(process)
        for child in _children.values():
            child.poll()  # killed by others
        self.processes = {}
        (self.folder / "cluster.json").unlink(missing_ok=True)

    def ask(self, path: str) -> Any:
        """An answer of the REST API, e.g. ``ask("/jobs/overview")``.

        Raises:
          OSError: the JobManager doesn't answer.
        """
        with urllib.request.urlopen(f"http://{self.rest_address}{path}", timeout=10) as answer:
            return json.load(answer)

    def _configure(self) -> None:
        if not any(self.is_running(name) for name in self.names()):
            shutil.rmtree(self.folder / "tmp", ignore_errors=True)
            shutil.rmtree(self.folder / "logs", ignore_errors=True)
        for name in ("conf", "logs", "tmp", "checkpoints", "artifacts"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        settings = configuration(self.folder, self.slots, self.checkpoints) | {
            "rest.port": self.ports["rest"],
            "jobmanager.rpc.port": self.ports["rpc"],
            "parallelism.default": self.task_managers * self.slots,
        }
        (self.folder / "conf" / "config.yaml").write_text(yaml.safe_dump(settings))
        (self.folder / "conf" / "log4j.properties").write_text(_LOG4J)
        known = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
        for number in range(1, self.task_managers + 1):
            hosts = f"127.0.0.1 localhost {socket.gethostname()}\n{self._pool_host(number)} {WORKERS_NAME}\n{known}"
            (self.folder / f"hosts-{number}").write_text(hosts)

    @property
    def _on_s3(self) -> bool:
        return self.checkpoints.startswith("s3://")

    def _pool_host(self, number: int) -> str:
        return f"127.0.0.{number}"

    def _start(self, name: str) -> None:
        kind, _, number = name.partition("-")
        environment = os.environ | {
            "FLINK_CONF_DIR": str(self.folder / "conf"),
            "FLINK_PLUGINS_DIR": str(s3_plugins() if self._on_s3 else flink_home() / "plugins"),
            "FLINK_LIB_DIR": str(flink_home() / "lib"),
            "MALLOC_ARENA_MAX": "1",
        }
        match kind:
            case "jobmanager":
                main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
                command = self._java(name, JOB_MANAGER_JAVA, main, JOB_MANAGER)
            case "taskmanager":
                main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
                memory = TaskManagerMemory(self.slots, self.task_managers)
                options = (*memory.java, f"-Djdk.net.hosts.file={self.folder / f'hosts-{number}'}")
                more = {"taskmanager.resource-id": f"{name}-{time.time_ns()}", "taskmanager.cpu.cores": self.slots}
                command = self._java(name, options, main, memory.settings | more)
            case "workers":
                logs = self.folder / "logs" / name
                logs.mkdir(exist_ok=True)
                address = f"{self._pool_host(int(number))}:{self.ports['workers']}"
                command = module_command("runners.worker_pool", "--address", address, "--logs", str(logs))
            case _:
                command = job_server_command(
                    self.rest_address, self.folder / "artifacts",
                    job=self.ports["job"], artifact=self.ports["artifact"], expansion=self.ports["expansion"],
                )  # fmt: skip
        with (self.folder / "logs" / f"{name}.out").open("ab") as output:
            started = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        _children[started.pid] = started
        self.processes[name] = (started.pid, psutil.Process(started.pid).create_time())
        state = dataclasses.asdict(self)
        del state["folder"]
        (self.folder / "cluster.json").write_text(json.dumps(state, indent=2))

    def _java(self, name: str, options: tuple[str, ...], main: str, settings: dict[str, Any]) -> list[str]:
        conf, log = self.folder / "conf", self.folder / "logs" / f"{name}.log"
        logging = [f"-Dlog.file={log}", f"-Dlog4j.configurationFile=file:{conf / 'log4j.properties'}"]
        given = [part for key, value in settings.items() for part in ("-D", f"{key}={value}")]
        classes = [*sorted(map(str, (flink_home() / "lib").glob("*.jar"))), str(job_server_jar())]
        classpath = ["-cp", ":".join(classes)]
        return [java(), *_JAVA_OPTIONS, *options, *logging, *classpath, main, "--configDir", str(conf), *given]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_ready():
            dead = [name for name in self.names() if not self.is_running(name)]
            if dead or time.monotonic() > deadline:
                state = f"{dead[0]} has ended" if dead else f"no answer within {_START_SECONDS} s"
                raise ClusterError(f"the Flink cluster doesn't start: {state}; see {self.folder / 'logs'}")
            time.sleep(0.2)

    def is_ready(self) -> bool:
        """Whether all TaskManagers are registered and all that listens can be reached."""
        try:
            found = len(self.ask("/taskmanagers")["taskmanagers"])
        except (OSError, urllib.error.URLError, KeyError):
            return False
        pools = [(self._pool_host(number), self.ports["workers"]) for number in range(1, self.task_managers + 1)]
        return found >= self.task_managers and all(map(_listens, [*pools, ("127.0.0.1", self.ports["job"])]))

    def _process(self, name: str) -> psutil.Process | None:
        pid, started = self.processes.get(name, (0, 0.0))
        try:
            process = psutil.Process(pid)
            same = pid and process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None


def configuration(folder: Path, slots: int, checkpoints: str) -> dict[str, Any]:
    """Flink's settings, but for ports and memory; each says what it is for (docs/flink.md has the reasoning)."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    other_store = {"s3.endpoint": endpoint, "s3.path-style-access": True} if endpoint else {}
    return other_store | {
        # Hadoop's S3 client would else delete the "folders" above each object that it writes: requests for nothing, and
        # minutes of retries at a store with real folders.
        "s3.directory.marker.retention": "keep",
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.bind-host": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "io.tmp.dirs": str(folder / "tmp"),
        "state.checkpoints.dir": checkpoints,
        "state.checkpoints.num-retained": 3,
        # In streaming, what a GroupByKey has gathered is on disk and not in the heap: 280 bytes a document in pass 2. A
        # checkpoint uploads what is new since the last one.
        "state.backend.type": "rocksdb",
        "state.backend.incremental": True,
        "taskmanager.numberOfTaskSlots": slots,
        # One worker of every step on each TaskManager before any gets a second.
        "taskmanager.load-balance.mode": "SLOTS",
        # In batch, Flink first puts together what a slot has for a key, as one record. If nearly all is for one key,
        # that doesn't fit into a sort buffer, and goes to disk aside.
        "taskmanager.runtime.large-record-handler": True,
        # Pass 2 has some forty exchanges, all of little data: the default of 512 buffers (16 MiB) for each is too many.
        "taskmanager.network.sort-shuffle.min-buffers": 32,
        # What goes to pass 3 is some 30 bytes a duplicate and comes all at once; a checkpoint waits until it is in
        # buffers, of which an exchange may have 256 (8 MiB) at each end where the default is 8.
        "taskmanager.network.memory.floating-buffers-per-gate": 256,
        # A process that is gone is noticed when two messages to it fail; one that is merely busy has a minute.
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 60000,
        # The same for orders: with 170 tasks to deploy at once, a machine that is very busy takes longer than 10 s.
        "pekko.ask.timeout": "60 s",
        # A failure that stays stops the job after half a minute; rare ones don't add up. With our resume, an attempt
        # costs the shards that were in flight.
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.backoff-multiplier": 2.0,
        "restart-strategy.exponential-delay.max-backoff": "1 min",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "5 min",
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": 4,
        # A job whose TaskManager died waits for the next one, instead of using up its restarts.
        "resourcemanager.standalone.start-up-time": 86_400_000,
        "slot.request.timeout": 600_000,
        # Beam's classes are on the cluster's own classpath, and so is Flink: one copy of each.
        "classloader.resolve-order": "parent-first",
        "web.cancel.enable": True,
        "web.checkpoints.history": 200,
    }


def job_server_command(
    rest_address: str, artifacts: Path, job: int, artifact: int = 0, expansion: int = 0
) -> list[str]:
    """The command that runs Beam's job server for a Flink cluster."""
    ports = ["--job-port", job, "--artifact-port", artifact, "--expansion-port", expansion]
    places = ["--flink-master", rest_address, "--job-host", "127.0.0.1", "--artifacts-dir", artifacts]
    return [java(), "-Xmx512m", *_JAVA_OPTIONS, "-jar", str(job_server_jar()), *map(str, places), *map(str, ports)]


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def _await_end(process: psutil.Process) -> None:
    """Waits until a process that was killed has ended; whoever started it may leave it a zombie."""
    if process.pid in _children:
        _children.pop(process.pid).wait()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)
