"""All images of the test: the product's three, and what stands around them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from beam_pipeline.version import __version__
from tests import s3
from tests.k8s import images, node, programs

PRODUCT = ("flink", "worker", "job-server")
"""Targets of flink-k8s/Dockerfile, and the ends of the images' names."""


def product() -> Iterator[images.Image]:
    """The product's images, labelled with its version and this tree's commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=images.ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    for target in PRODUCT:
        name = f"localhost/beam-pipeline-{target}:{__version__}"
        yield images.build(
            name, images.ROOT / "flink-k8s" / "Dockerfile", target, arguments={"VERSION": __version__, "COMMIT": commit}
        )


def surroundings() -> Iterator[images.Image]:
    """The pause container, the name server, S3, PostgreSQL, RabbitMQ and the Flink operator."""
    dockerfile = Path(__file__).parent / "Dockerfile"
    names = {
        "pause": node.PAUSE_IMAGE,
        "coredns": f"localhost/coredns:{programs.COREDNS}",
        "s3": f"localhost/versitygw:{s3.VERSION}",
        "postgres": "localhost/postgres:15",
        "rabbitmq": "localhost/rabbitmq:debian",
        "operator": f"localhost/flink-kubernetes-operator:{programs.OPERATOR}",
    }
    with tempfile.TemporaryDirectory(dir=programs.cache()) as folder:
        parts = Path(folder)
        busybox = shutil.which("busybox")
        assert busybox is not None, "machine.missing() has looked"
        shutil.copy2(busybox, parts / "busybox")
        shutil.copy2(s3.binary(), parts / "versitygw")
        shutil.copy2(programs.coredns() / "coredns", parts / "coredns")
        shutil.copytree(programs.flink_operator(), parts / "flink-operator", copy_function=os.link)
        for target, name in names.items():
            yield images.build(name, dockerfile, target, context=parts, contexts={"parts": parts})
