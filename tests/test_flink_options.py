"""Flags for Flink that can't work are refused before anything is done; tests/flink has the rest, on a real cluster."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from beam_pipeline import execution, pipeline, running
from beam_pipeline.sample import documents_path, tokenizer_path
from beam_pipeline.settings import Settings
from runners.flink import MOST_PIPELINED_SLOTS, FlinkOptionsError, with_defaults
from runners.flink_jobs import FlinkJob
from tests import s3


class JobManager(BaseHTTPRequestHandler):
    """Answers as a cluster of three machines with two slots each."""

    overview: ClassVar[dict[str, object]] = {"slots-total": 6, "taskmanagers": 3, "flink-version": "1.19.3", "jobs": []}
    away: ClassVar[bool] = False

    def do_GET(self) -> None:
        if self.away:
            self.send_error(503)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(self.overview).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def master() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), JobManager)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def flags(*more: str) -> list[str]:
    return ["--runner=FlinkRunner", "--flink_job_server_jar=any.jar", *more]


def test_all_slots_of_the_cluster_work(master: str) -> None:
    completed = with_defaults(flags(f"--flink_master={master}"))
    assert {"--parallelism=6", "--sdk_worker_parallelism=2", "--execution_mode_for_batch=PIPELINED"} < {*completed}
    assert {"--environment_type=EXTERNAL", "--environment_config=localhost:50000"} < {*completed}


def test_given_flags_win(master: str) -> None:
    given = flags(f"--flink_master={master}", "--parallelism=1", "--environment_config=pool:1")
    assert with_defaults(given)[: len(given)] == given
    assert [flag for flag in with_defaults(given) if flag.startswith(("--parallelism", "--environment_config"))] == [
        "--parallelism=1",
        "--environment_config=pool:1",
    ]


def test_slots_that_are_started_on_demand_must_be_asked_for(master: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JobManager.overview, "slots-total", 0)
    monkeypatch.setitem(JobManager.overview, "taskmanagers", 0)
    with pytest.raises(FlinkOptionsError, match=r"has no TaskManagers; .* or say by --parallelism"):
        with_defaults(flags(f"--flink_master={master}"))
    assert "--sdk_worker_parallelism=1" in with_defaults(flags(f"--flink_master={master}", "--parallelism=8"))


def test_another_portable_runner_is_left_alone() -> None:
    given = ["--runner=PortableRunner", "--job_endpoint=localhost:1"]
    assert with_defaults(given) == given


def test_a_missing_or_silent_or_other_cluster_is_named(master: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FlinkOptionsError, match="--flink_master HOST:PORT is missing"):
        with_defaults(flags())
    with pytest.raises(FlinkOptionsError, match="no Flink JobManager answers"):
        with_defaults(flags(f"--flink_master=127.0.0.1:{s3.free_port()}"))
    monkeypatch.setitem(JobManager.overview, "flink-version", "1.20.1")
    with pytest.raises(FlinkOptionsError, match=r"is Flink 1\.20\.1; the job server is for Flink 1\.19"):
        with_defaults(flags(f"--flink_master={master}"))


def test_streaming_never_goes_without_what_keeps_its_data(master: str) -> None:
    streaming = flags(f"--flink_master={master}", "--streaming")
    assert "--finish_bundle_before_checkpointing" in with_defaults(streaming)
    assert "--finish_bundle_before_checkpointing" in with_defaults([*streaming, "--max_bundle_size=1000"])
    with pytest.raises(FlinkOptionsError, match="loses data in streaming mode"):
        with_defaults([*streaming, "--finish_bundle_before_checkpointing=false"])


def test_no_step_reads_one_input_to_its_end_before_another(tmp_path: Path) -> None:
    """Side inputs would: steps that are all there at once could block each other, and checkpoints would fail."""
    settings = Settings(input=[str(documents_path())], output=str(tmp_path / "out"), tokenizer=str(tokenizer_path()))
    prepared = running.prepare(settings)
    prepared.lineage.close()
    root = beam.Pipeline()
    pipeline.build(root, prepared.plan)
    transforms = root.to_runner_api().components.transforms.values()
    steps = [each.spec.payload for each in transforms if each.spec.urn == common_urns.primitives.PAR_DO.urn]
    assert len(steps) > 50
    assert not any(beam_runner_api_pb2.ParDoPayload.FromString(payload).side_inputs for payload in steps)


def test_batch_and_streaming_can_both_be_had(master: str) -> None:
    given = flags(f"--flink_master={master}")
    streaming = with_defaults([*given, "--streaming"])
    assert {"--streaming", "--checkpointing_interval=10000", "--unaligned_checkpoint_enabled"} < {*streaming}
    batch = with_defaults([*given, "--no-streaming"])
    assert not {"--streaming", "--no-streaming", "--checkpointing_interval=10000"} & {*batch}
    with pytest.raises(FlinkOptionsError, match="choose one"):
        with_defaults([*given, "--streaming", "--no-streaming"])


def test_a_run_is_checkpointed_unless_the_cluster_is_large(master: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = flags(f"--flink_master={master}")
    assert with_defaults(given) == with_defaults([*given, "--streaming"])
    monkeypatch.setitem(JobManager.overview, "slots-total", MOST_PIPELINED_SLOTS + 1)
    large = with_defaults(given)
    assert large == with_defaults([*given, "--no-streaming"])
    assert "--execution_mode_for_batch=BATCH_FORCED" in large  # steps run one after the other


@pytest.mark.parametrize(
    ("jobs", "away", "said"),
    [
        ([{"name": "a-run", "state": "RUNNING", "jid": "3f3d"}], False, "job works on: .*job/3f3d.*mode=cancel"),
        ([], True, "job may work on: .* doesn't answer .*503"),
    ],
    ids=("at work", "nobody answers"),
)
def test_ctrl_c_says_what_becomes_of_the_job(
    master: str, monkeypatch: pytest.MonkeyPatch, jobs: list[dict[str, str]], away: bool, said: str
) -> None:
    def interrupted(_: beam.Pipeline) -> None:
        monkeypatch.setitem(JobManager.overview, "jobs", jobs)
        monkeypatch.setattr(JobManager, "away", away)
        raise KeyboardInterrupt

    with pytest.raises(execution.StillAtWork) as left:
        execution.execute(PipelineOptions([]), interrupted, FlinkJob(f"http://{master}", "a-run"))
    assert re.search(said, str(left.value), re.DOTALL)
    assert "run the same command" in str(left.value)


def test_the_root_cause_is_the_last_exception_of_python() -> None:
    error = RuntimeError(
        "Pipeline job_1 failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness:\n"
        "Traceback (most recent call last):\n"
        '  File "filter.py", line 1, in process\n'
        "transforms.recipe.steps.StepFailed: step f failed at a.jsonl, row 3\n"
        "\n"
        "\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.onNext(FnApiControlClient.java:180)\n"
        "Caused by: java.lang.IllegalStateException: closed\n"
    )
    assert execution.root_cause(error) == "transforms.recipe.steps.StepFailed: step f failed at a.jsonl, row 3"


def test_the_root_cause_is_the_last_one_of_java_where_flink_failed() -> None:
    error = RuntimeError(
        "Pipeline job_1 failed in state FAILED: org.apache.flink.runtime.rest.util.RestClientException: [org.apache."
        "flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job (3f3d)\n"
        "\tat org.apache.flink.runtime.rest.handler.job.JobExecutionResultHandler.propagateException(Handler.java:94)\n"
        "Caused by: java.util.concurrent.CompletionException: org.apache.flink.runtime.messages."
        "FlinkJobNotFoundException: Could not find Flink job (3f3d)\n"
        "\t... 37 more\n"
        "Caused by: org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job (3f3d)\n"
        "\tat org.apache.flink.runtime.dispatcher.Dispatcher.requestJobStatus(Dispatcher.java:890)\n"
        "]\n"
    )
    assert execution.root_cause(error) == "FlinkJobNotFoundException: Could not find Flink job (3f3d)"


def test_the_root_cause_of_a_stack_of_java_is_its_first_line() -> None:
    error = RuntimeError(
        "org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager with id t-1 is no longer reachable.\n"
        "\tat org.apache.flink.runtime.jobmaster.JobMaster$TaskManagerHeartbeatListener.notify(JobMaster.java:1452)\n"
        "\tat java.base/java.util.concurrent.ForkJoinWorkerThread.run(ForkJoinWorkerThread.java:165)\n"
    )
    assert execution.root_cause(error) == "JobMasterException: TaskManager with id t-1 is no longer reachable."
