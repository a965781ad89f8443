"""The cluster: started in namespaces of its own, spoken to by commands run inside them, ended with all it has started.

By hand: ``python -m tests.k8s up``, ``run COMMAND...``, ``down``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from runners.data_folder import data_folder
from tests.k8s import node, programs

ROOT = Path(__file__).parents[2]
MANIFESTS = Path(__file__).parent / "manifests"

_CGROUP = f"beam-pipeline-kubernetes-{os.getpid()}"
_START_SECONDS = 300


class ClusterError(RuntimeError):
    """The cluster can't be started, or a command in it failed."""


class Cluster:
    """The cluster of a folder, running or not.

    Args:
      folder: all its state and logs; by default in the data folder ($BEAM_PIPELINE_DATA_DIR).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or data_folder() / "kubernetes"
        self.programs = programs.kubernetes()
        self._outer: subprocess.Popen[bytes] | None = None

    def up(self, images: Iterable[Path]) -> None:
        """Starts it from nothing: node Ready, images imported, name server and Flink operator running.

        Args:
          images: docker archives; the node has no other images.

        Raises:
          ClusterError: it runs already, or a part doesn't start.
        """
        if self.init is not None:
            raise ClusterError(f"a cluster runs in {self.folder} already: python -m tests.k8s down")
        self._remove()
        self.folder.mkdir(parents=True)
        groups = list(self._make_cgroups())

        def join() -> None:
            for group in groups:
                (group / "cgroup.procs").write_text("0")

        namespaces = ["--mount", "--cgroup", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child=KILL"]
        first = [sys.executable, "-m", "tests.k8s.node", str(self.folder), str(self.programs)]
        with (self.folder / "node.log").open("wb") as log:
            self._outer = outer = subprocess.Popen(
                ["unshare", *namespaces, "--mount-proc", *first], cwd=ROOT, preexec_fn=join,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        (self.folder / "outer.pid").write_text(f"{outer.pid} {psutil.Process(outer.pid).create_time()}")
        deadline = time.monotonic() + _START_SECONDS
        while not (self.folder / "ready").exists():
            if outer.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "node.log").read_text()[-3000:]
                raise ClusterError(f"the node doesn't start; logs are in {self.folder}:\n{said}")
            time.sleep(0.1)
        for image in images:
            self.run("ctr", "--namespace", "k8s.io", "images", "import", image)
        self.apply(MANIFESTS / "coredns.yaml")
        self.wait_for("deployment/coredns", "condition=Available", namespace="kube-system")

    def down(self) -> None:
        """Ends every process in the namespaces, and removes the cgroups and the folder."""
        if (init := self.init) is not None:
            outer = psutil.Process(init.ppid())
            init.kill()  # the kernel ends all others of the namespace
            with contextlib.suppress(psutil.NoSuchProcess):
                outer.wait(30)
        if self._outer is not None:
            self._outer.wait(30)
        self._remove()

    @property
    def init(self) -> psutil.Process | None:
        """The first process of the namespaces, if it runs."""
        with contextlib.suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
            pid, started = (self.folder / "outer.pid").read_text().split()
            outer = psutil.Process(int(pid))
            if outer.create_time() == float(started) and outer.status() != psutil.STATUS_ZOMBIE:
                return next(iter(outer.children()), None)
        return None

    def command(self, *command: object) -> list[str]:
        """A command as it is run inside the namespaces, as the administrator, with Services by their names."""
        if (init := self.init) is None:
            raise ClusterError(f"no cluster runs in {self.folder}")
        enter = ["nsenter", f"--target={init.pid}", "--mount", "--net", "--pid", "--uts", "--ipc", f"--wd={ROOT}"]
        path = f"PATH={self.programs}:{os.environ['PATH']}"
        config = f"KUBECONFIG={self.folder / 'admin.conf'}"
        return [*enter, "--", "env", path, config, *map(str, command)]

    def run(
        self, *command: object, text: str | None = None, check: bool = True, environment: dict[str, str] | None = None
    ) -> str:
        """Runs a command inside the namespaces and gives what it prints.

        Args:
          text: what it reads.
          environment: what it finds in its environment besides ours.

        Raises:
          ClusterError: it failed (unless not checked), with what it said.
        """
        done = subprocess.run(
            self.command(*command), input=text, env=os.environ | (environment or {}),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise ClusterError(f"{' '.join(map(str, command))} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def kubectl(self, *arguments: object, text: str | None = None, check: bool = True) -> str:
        """What kubectl prints."""
        return self.run("kubectl", *arguments, text=text, check=check)

    def get(self, *arguments: object) -> Any:
        """What ``kubectl get`` knows, e.g. ``get("pods", "-l", "component=taskmanager")``."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, manifest: Path) -> None:
        """``kubectl apply`` of a file, or of a folder with a kustomization."""
        self.kubectl("apply", "-k" if manifest.is_dir() else "-f", manifest)

    def wait_for(self, what: str, condition: str, namespace: str = node.NAMESPACE, seconds: int = 120) -> None:
        """``kubectl wait``; what doesn't exist yet is waited for as well."""
        self.kubectl("wait", what, "--for=create", f"--namespace={namespace}", f"--timeout={seconds}s")
        self.kubectl("wait", what, f"--for={condition}", f"--namespace={namespace}", f"--timeout={seconds}s")

    def story(self) -> str:
        """What a person wants to see when something went wrong: the pods, what they said last, recent events."""
        parts = [self.kubectl("get", "pods", "--all-namespaces", "-o", "wide", check=False)]
        for pod in self.get("pods")["items"]:
            name = pod["metadata"]["name"]
            parts += [f"--- {name}", self.kubectl("logs", name, "--all-containers", "--tail=40", check=False)]
        parts += ["--- events", self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False)]
        return "\n".join(parts)

    def leftovers(self) -> list[str]:
        """Processes and mounts that are still there; of a cluster that is down there must be none."""
        place = str(self.folder)
        processes = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return [line for line in (*processes, *mounts) if place in line]

    def _make_cgroups(self) -> Iterator[Path]:
        """A group of our own in every hierarchy, under the one we are in; the kubelet's are made under it."""
        ours = {}
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            ours |= {name.removeprefix("name="): path for name in names.split(",") if name}
        for name in (*node.HIERARCHIES, "systemd"):
            parent = Path("/sys/fs/cgroup") / name / ours[name].lstrip("/")
            group = parent / _CGROUP
            group.mkdir(exist_ok=True)
            if name == "cpuset":  # isn't inherited
                for setting in ("cpuset.cpus", "cpuset.mems"):
                    (group / setting).write_text((parent / setting).read_text())
            if name == "cpu":  # a whole machine; to the scheduler of a busy one it would count as a single process
                (group / "cpu.shares").write_text(str(16 * 1024))
            with (self.folder / "cgroups").open("a") as known:
                known.write(f"{group}\n")
            yield group

    def _remove(self) -> None:
        """Removes what a cluster that has ended leaves: empty cgroups and its folder."""
        with contextlib.suppress(FileNotFoundError):
            for group in map(Path, (self.folder / "cgroups").read_text().split()):
                deadline = time.monotonic() + 30
                while group.exists():
                    for inner, _, _ in os.walk(group, topdown=False):
                        with contextlib.suppress(OSError):  # processes still end
                            Path(inner).rmdir()
                    if time.monotonic() > deadline:
                        raise ClusterError(f"processes are left in {group}")
                    time.sleep(0.1)
        if self.folder.exists():
            shutil.rmtree(self.folder)
