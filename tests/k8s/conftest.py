"""The cluster of all tests here: from nothing, with all images, the operator and the stores; nothing of it is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.k8s import images, machine, parts, services
from tests.k8s.cluster import Cluster


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
