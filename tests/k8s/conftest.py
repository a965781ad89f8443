"""The cluster of all tests here: from nothing, with all images, the operator, the stores and the product."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.k8s import images, machine, node, parts, services
from tests.k8s.cluster import Cluster

TEXT_BYTES = 110_000_000
SHORT_DOCUMENTS = 1_000_000
PRODUCT = images.ROOT / "flink-k8s"
BUCKET = "beam-pipeline"


@pytest.fixture(scope="session")
def product_images() -> list[images.Image]:
    try:
        machine.check()
    except machine.MachineLacks as error:
        pytest.fail(str(error), pytrace=False)
    return list(parts.product())


@pytest.fixture(scope="session")
def cluster(data_dir: Path, product_images: list[images.Image]) -> Iterator[Cluster]:
    needed = [image.archive for image in (*parts.surroundings(), *product_images)]
    cluster = Cluster()
    try:
        started = time.monotonic()
        cluster.up(needed)
        services.install_operator(cluster)
        services.start_stores(cluster)
        cluster.wait_for("deployment/flink-operator", "condition=Available", "flink-operator")
        for pod in ("s3", "postgres-0"):
            cluster.wait_for(f"pod/{pod}", "condition=Ready", services.STORES)
        Console().print(f"\na node with all images, operator and stores: {time.monotonic() - started:.0f} s")
        yield cluster
    finally:
        cluster.down()
    assert cluster.leftovers() == []


@pytest.fixture(scope="session")
def product(cluster: Cluster) -> Cluster:
    """The cluster with the product in it, but no run yet."""
    cluster.apply(PRODUCT / "base" / "namespace.yaml")
    services.put_secrets(cluster, node.NAMESPACE)
    cluster.run(
        sys.executable, "-m", "tests.k8s.texts", TEXT_BYTES, SHORT_DOCUMENTS, BUCKET, environment=services.ENVIRONMENT
    )
    cluster.apply(PRODUCT / "overlays" / "single-node")
    cluster.wait_for("flinkdeployment/flink", "jsonpath={.status.jobManagerDeploymentStatus}=READY", seconds=300)
    cluster.wait_for("deployment/job-server", "condition=Available")
    return cluster
