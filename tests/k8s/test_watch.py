"""RabbitMQ and ``watch`` of the overlay ``single-node``: an object that arrives becomes a run on Flink."""

from __future__ import annotations

import json
import sys

import pytest
from rich.console import Console

from tests import runs
from tests.k8s import services
from tests.k8s.cluster import Cluster
from tests.k8s.conftest import BUCKET
from tests.k8s.observe import until

PATIENCE_SECONDS = 900
PUT = "import sys, boto3; boto3.client('s3').upload_file(sys.argv[1], sys.argv[2], sys.argv[3])"
DOCUMENTS = 50


@pytest.fixture(scope="module")
def watching(product: Cluster) -> Cluster:
    """RabbitMQ with its volume, `watch`, and a store that announces its objects."""
    services.start_rabbitmq(product)
    product.wait_for("pod/rabbitmq-0", "condition=Ready", seconds=300)
    product.wait_for("deployment/watch", "condition=Available", seconds=300)
    product.wait_for("pod/s3-telling", "condition=Ready", services.STORES)
    return product


def ledger(cluster: Cluster) -> list[str]:
    """The states of the corpus's runs."""
    return services.query(cluster, "SELECT state FROM corpus_runs ORDER BY number").split()


def listens(cluster: Cluster) -> bool:
    """Whether somebody consumes the queue."""
    control = ("/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", "list_queues", "name", "consumers")
    said = cluster.kubectl("exec", "rabbitmq-0", "--", *control, check=False)
    return "new-objects\t1" in said.splitlines()


def put(cluster: Cluster, number: int) -> None:
    texts = [f"Object {number} has document {row}: {' '.join(f'word{number * row + i}' for i in range(40))}"
             for row in range(DOCUMENTS)]  # fmt: skip
    file = cluster.folder / f"{number}.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    environment = services.ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://s3-telling.{services.STORES}:9000"}
    cluster.run(sys.executable, "-c", PUT, file, BUCKET, f"arrived/{number} a+b.jsonl", environment=environment)


def test_an_object_becomes_a_run(watching: Cluster) -> None:
    try:
        until(lambda: listens(watching), "watch reads its queue", PATIENCE_SECONDS)
        for number in (1, 2):
            if number == 2:  # what RabbitMQ has stored survives its pod
                watching.kubectl("delete", "pod", "rabbitmq-0")
                watching.wait_for("pod/rabbitmq-0", "condition=Ready", seconds=300)
                until(lambda: listens(watching), "watch reads its queue again", PATIENCE_SECONDS)
                services.start_telling_store(watching)  # which doesn't connect again
            put(watching, number)
            until(lambda: ledger(watching) == ["done"] * number, f"run {number} is done", PATIENCE_SECONDS)  # noqa: B023
    except BaseException:
        Console().print(watching.story(), markup=False, highlight=False, soft_wrap=True)
        raise
    corpus = services.data_of(watching) / "s3" / BUCKET / "corpus"
    for number in (1, 2):
        assert runs.manifest(corpus / "runs" / f"{number:06}")["counts"]["documents"] == DOCUMENTS
    told = services.query(watching, "SELECT last FROM event_streams JOIN corpus_runs ON stream = run::text").split()
    assert min(map(int, told)) >= 5  # planned, started, two of a shard, done
    until(lambda: services.query(watching, "SELECT count(*) FROM outbox") == "0", "all events are sent", 120)
