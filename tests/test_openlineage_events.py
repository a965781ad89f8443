from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline import embedded_postgres, openlineage_events
from beam_pipeline.openlineage_events import dataset_name, reported
from beam_pipeline.plan import Plan, make_plan
from beam_pipeline.poller import polling
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.settings import Settings
from tests import runs
from tests.openlineage_schema import check_event
from transforms.io.lineage import Lineage, public_dsn


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the events go, by the client's own configuration."""
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(
        "OPENLINEAGE__TRANSPORT", json.dumps({"type": "file", "log_file_path": str(path), "append": True})
    )
    return path


@pytest.fixture
def plan(corpus: Path, tmp_path: Path) -> Plan:
    """A run that is planned and recorded, but not carried out."""
    dsn = embedded_postgres.start()
    settings = Settings(input=[str(corpus)], output=str(tmp_path / "out"), tokenizer=str(tokenizer_path()))
    planned = make_plan(settings, public_dsn(dsn))
    with Lineage(dsn) as lineage:
        lineage.migrate()
        lineage.start_run(planned.run, {}, planned.settings_hash, "1", planned.outcomes)
    return planned


def events(log: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.read_text().splitlines()]
    for event in found:
        check_event(event)
    return found


def test_a_run_says_when_it_starts_and_ends(log: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    texts = ["One text that is long enough to be looked at twice. " * 3, "Another one, of other words, as long. " * 3]
    source.write_text("".join(json.dumps({"id": i, "text": texts[i % 2]}) + "\n" for i in range(5)))
    runs.run(source, tmp_path / "out", "--direct_num_workers", 1)
    start, complete = events(log)
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"] == runs.manifest(tmp_path / "out")["run"]
    [read], [written] = complete["inputs"], complete["outputs"]
    assert (read["namespace"], read["name"]) == ("file", str(source))
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == 5
    assert (written["namespace"], written["name"]) == ("file", str(tmp_path / "out" / "tokens"))
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 2
    columns = written["facets"]["columnLineage"]["fields"]
    assert columns["input_ids"]["inputFields"][0]["field"] == "text"
    names = [field["name"] for field in written["facets"]["schema"]["fields"]]
    assert set(columns) < set(names)


@pytest.mark.parametrize(
    ("error", "state"), [(RuntimeError("the worker died"), "FAIL"), (KeyboardInterrupt("stopped"), "ABORT")]
)
def test_a_run_that_ends_otherwise_says_how(log: Path, plan: Plan, error: BaseException, state: str) -> None:
    with pytest.raises(type(error)), polling(plan) as poller, reported(plan, poller):
        raise error
    start, end = events(log)
    assert (start["eventType"], end["eventType"]) == ("START", state)
    assert end["run"]["facets"]["errorMessage"]["message"] == str(error)


def test_progress_is_told(log: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openlineage_events, "PROGRESS_SECONDS", 0.05)
    with polling(plan) as poller, reported(plan, poller):
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_text().count("\n") > 2):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    kinds = [event["eventType"] for event in events(log)]
    assert kinds[0] == "START"
    assert set(kinds[1:-1]) == {"RUNNING"}
    assert kinds[-1] == "COMPLETE"
    assert events(log)[1]["run"]["facets"]["beam_pipeline_progress"]["done"] == 0


def test_without_configuration_nothing_is_sent(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert openlineage_events._client() is None
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    with polling(plan) as poller, reported(plan, poller) as sender:
        sender.send("RUNNING")


def test_a_receiver_that_is_away_does_not_stop_the_run(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"type": "http", "url": "http://127.0.0.1:9", "retry": {"total": 0}, "timeout": 1}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(config))
    with polling(plan) as poller, reported(plan, poller):
        pass
    assert "the OpenLineage event START couldn't be sent" in caplog.text


def test_a_wrong_configuration_does_not_stop_the_run(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps({"type": "pigeon"}))
    with polling(plan) as poller, reported(plan, poller):
        pass
    assert "OpenLineage is configured wrongly" in caplog.text


def test_datasets_are_named_by_the_rules() -> None:
    assert dataset_name("s3://bucket/a/b/") == ("s3://bucket", "a/b")
    assert dataset_name("s3://bucket") == ("s3://bucket", "/")
    assert dataset_name("gs://bucket/a") == ("gs://bucket", "a")
    assert dataset_name("/a/b") == ("file", "/a/b")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event.pop("eventTime"),
        lambda event: event["run"].update(runId="x"),
        lambda event: event.update(eventType="GONE"),
        lambda event: event["job"].pop("name"),
        lambda event: event["inputs"][0].update(unknown=1),
        lambda event: event["outputs"][0]["facets"]["columnLineage"]["fields"]["input_ids"].pop("inputFields"),
        lambda event: event["inputs"][0]["inputFacets"]["inputStatistics"].update(size="5"),
    ],
)
def test_the_check_can_fail(log: Path, plan: Plan, spoil: Callable[[dict[str, Any]], object]) -> None:
    with polling(plan) as poller, reported(plan, poller):
        pass
    event = copy.deepcopy(events(log)[0])
    spoil(event)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        check_event(event)
