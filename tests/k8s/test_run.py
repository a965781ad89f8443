"""One run on Kubernetes, in which everything that can fail does, once; and what must be true of it all the same.

110 MB of generated text go through ``kubectl apply -k`` of the overlay ``single-node`` and its Job. The same text goes
through DirectRunner before that: what the Job writes must be the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests import runs
from tests.k8s import images, node, services
from tests.k8s.cluster import MANIFESTS, Cluster
from tests.k8s.conftest import BUCKET, SHORT_DOCUMENTS
from tests.k8s.observe import Pods, forwarded, until

SETTINGS = MANIFESTS / "run" / "settings.yaml"
TASK_MANAGERS = "component=taskmanager"
POSTGRES_AWAY_SECONDS = 30
FIRST_BATCH_SECONDS = 10
PATIENCE_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Fault:
    """What was done to the run, and the objects that were there just before: their names and when they were written."""

    name: str
    before: dict[str, int]


@dataclasses.dataclass
class Run:
    """The Job's run and DirectRunner's, and what was seen of them."""

    output: Path
    expected: Path
    pods: Pods
    faults: list[Fault] = dataclasses.field(default_factory=list)
    answers: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0

    def written(self) -> dict[str, int]:
        """The shards' objects that are there, and when each was written, in ns since 1970."""
        places = ((self.output / name).glob("*.parquet") for name in ("fingerprints", "tokens"))
        return {str(path.relative_to(self.output)): path.stat().st_mtime_ns for place in places for path in place}

    def reach(self, objects: int) -> None:
        until(lambda: len(self.written()) >= objects, f"{objects} objects are written", PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def run(product: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The run, to its end and until its TaskManagers are gone."""
    bucket = services.data_of(product) / "s3" / BUCKET
    pods = Pods(product, TASK_MANAGERS, tmp_path_factory.mktemp("watch"))
    seen = Run(bucket / "output", bucket / "expected", pods)
    direct = (sys.executable, "-m", "beam_pipeline", "--config", SETTINGS, "--output", f"s3://{BUCKET}/expected")
    product.run(*direct, environment=services.ENVIRONMENT)
    with pods.recorded():
        started = time.monotonic()
        product.apply(MANIFESTS / "run")
        try:
            _disturb(product, seen)
            _await_end(product)
        except BaseException:
            Console().print(product.story(), markup=False, highlight=False, soft_wrap=True)
            raise
        seen.seconds = time.monotonic() - started
        until(lambda: seen.pods.counts()[-1] == 0, "the TaskManagers have gone", PATIENCE_SECONDS)
    yield seen


def _disturb(product: Cluster, seen: Run) -> None:
    """Looks at the run at work, and then does to it, one after the other, what can happen to it."""

    def running() -> list[str]:
        found = product.get("pods", "--selector", TASK_MANAGERS, "--field-selector=status.phase=Running")["items"]
        return [pod["metadata"]["name"] for pod in found]

    def delete_pod(selector: str) -> None:
        pod = product.get("pods", "--selector", selector)["items"][0]["metadata"]["name"]
        product.kubectl("delete", "pod", pod, "--grace-period=0", "--force")

    def kill_workers() -> None:
        [pod] = product.get("pods", "--selector", TASK_MANAGERS, "--field-selector=status.phase=Running")["items"][:1]
        [status] = [status for status in pod["status"]["containerStatuses"] if status["name"] == "workers"]
        container = status["containerID"].removeprefix("containerd://")
        product.run("ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container)

    faults: dict[str, Callable[[], None]] = {
        "a TaskManager's pod is deleted": lambda: delete_pod(TASK_MANAGERS),
        "a side-car's process is killed": kill_workers,
        "the JobManager's pod is deleted": lambda: delete_pod("component=jobmanager"),
        "PostgreSQL is away": lambda: services.stop_postgres(product, POSTGRES_AWAY_SECONDS),
    }
    seen.reach(1)  # both slots are in use then: all steps of the job are at work at once
    until(lambda: len(running()) == 2, "two TaskManagers run", PATIENCE_SECONDS)
    seen.answers |= forwarded(product, "service/flink-rest", 8081, "/", "/overview", "/jobs/overview")
    seen.answers |= forwarded(product, f"pod/{running()[0]}", 9249, "/metrics")
    for name, bring_about in faults.items():
        seen.reach(len(seen.written()) + 6)  # work goes on
        seen.faults.append(Fault(name, seen.written()))
        bring_about()


def _await_end(product: Cluster) -> None:
    def ended() -> bool:
        conditions = product.get("job", "pipeline")["status"].get("conditions", ())
        return any(condition["type"] in ("Complete", "Failed") for condition in conditions)

    until(ended, "the Job ends", PATIENCE_SECONDS)
    status: dict[str, Any] = product.get("job", "pipeline")["status"]
    assert status.get("succeeded") == 1, status


def test_the_bytes_are_those_of_direct_runner(run: Run) -> None:
    assert runs.digests(run.output) == runs.digests(run.expected)
    assert runs.manifest(run.output)["counts"] == runs.manifest(run.expected)["counts"]


def test_every_document_is_in_the_lineage_once(run: Run, cluster: Cluster) -> None:
    manifest = runs.manifest(run.output)
    counted = services.query(
        cluster,
        "SELECT count(*), count(DISTINCT (source_uri, source_row)), count(DISTINCT (token_object, token_row)) "
        f"FILTER (WHERE outcome = 'kept') FROM lineage WHERE run = '{manifest['run']}'",
    )
    counts = manifest["counts"]
    assert counted == f"{counts['documents']}|{counts['documents']}|{counts['kept']}"


def test_every_fault_came_in_mid_run(run: Run) -> None:
    total = len(run.written())
    done = {fault.name: len(fault.before) for fault in run.faults}
    Console().print(f"\nof {total} objects were there when {done}; the whole run: {run.seconds:.0f} s")
    assert len(done) == 4
    assert all(0 < there < total for there in done.values())


def test_what_was_done_before_the_first_fault_is_not_done_again(run: Run) -> None:
    before, after = run.faults[0].before, run.written()
    assert {name: after[name] for name in before} == before


def test_task_managers_come_with_a_run_and_go_after_it(run: Run) -> None:
    counts = run.pods.counts()
    assert counts[0] == counts[-1] == 0
    assert max(counts) >= 2


def test_the_web_ui_and_the_metrics_answer(run: Run) -> None:
    assert "Apache Flink Web Dashboard" in run.answers["/"]
    assert json.loads(run.answers["/overview"])["taskmanagers"] == 2
    jobs = {job["name"]: job["state"] for job in json.loads(run.answers["/jobs/overview"])["jobs"]}
    assert jobs[f"beam-pipeline-{runs.manifest(run.output)['run']}"] == "RUNNING"
    assert "flink_taskmanager_Status_JVM_Memory_Heap_Used" in run.answers["/metrics"]


def test_the_first_batch_comes_soon(run: Run, product: Cluster) -> None:
    """No compiling, no downloading: from the start of a container to the first object that it writes.

    Of the run's own side-cars the same is only told: what they wait for is Flink's start.
    """
    started = min(run.pods.starts("workers").values())
    first = min(run.written().values()) / 1e9
    product.apply(MANIFESTS / "first-batch.yaml")
    product.wait_for("pod/first-batch", "jsonpath={.status.phase}=Succeeded", seconds=300)
    [status] = product.get("pod", "first-batch")["status"]["containerStatuses"]
    alone_started = datetime.fromisoformat(status["state"]["terminated"]["startedAt"]).timestamp()
    objects = (run.output.parent / "first-batch" / "fingerprints").glob("*.parquet")
    alone = min(path.stat().st_mtime for path in objects) - alone_started
    Console().print(
        f"\nfirst batch after {alone:.1f} s; of a side-car, Flink's start included: {first - started:.1f} s"
    )
    assert alone < FIRST_BATCH_SECONDS


def test_a_million_short_documents_fit_into_the_pods(run: Run, product: Cluster) -> None:
    """Pass 2 has most to do where documents are short; half a million of them are a shard."""
    bucket = run.output.parent
    short = ("--config", MANIFESTS / "short" / "settings.yaml", "--output", f"s3://{BUCKET}/short-expected")
    product.run(sys.executable, "-m", "beam_pipeline", *short, environment=services.ENVIRONMENT)
    product.kubectl("delete", "job", "pipeline")
    started = time.monotonic()
    product.apply(MANIFESTS / "short")
    _await_end(product)
    seconds = time.monotonic() - started
    assert runs.digests(bucket / "short-output") == runs.digests(bucket / "short-expected")
    assert runs.manifest(bucket / "short-output")["counts"]["documents"] == SHORT_DOCUMENTS
    Console().print(f"\n{SHORT_DOCUMENTS:,} short documents: {seconds:.0f} s")


def test_rights(product: Cluster) -> None:
    def may(account: str, *what: str) -> bool:
        user = f"--as=system:serviceaccount:{node.NAMESPACE}:{account}"
        answer = product.kubectl("auth", "can-i", *what, user, check=False).strip()  # "no" is exit status 1
        assert answer in ("yes", "no")
        return answer == "yes"

    assert may("flink-jobmanager", "create", "pods")  # the question can be answered by yes
    for account in ("flink-taskmanager", "pipeline"):
        assert not may(account, "get", "secrets")
        assert not may(account, "create", "pods")
    assert not may("flink-jobmanager", "get", "secrets")


def test_image_sizes(product_images: list[images.Image]) -> None:
    Console().print()
    for image in product_images:
        Console().print(f"{image.name}: {image.bytes / 1e6:.0f} MB")
        assert image.bytes < 2e9
