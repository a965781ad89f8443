"""What the product needs around it in the cluster: the Flink operator, an S3 server, PostgreSQL, RabbitMQ's volume."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

from tests import s3
from tests.k8s import programs
from tests.k8s.cluster import MANIFESTS, Cluster

STORES = "stores"

S3_SECRET = {"AWS_ACCESS_KEY_ID": s3.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET_KEY}
POSTGRES_SECRET = {"PGUSER": "postgres", "PGPASSWORD": "not-a-secret-of-anyone"}

RABBITMQ_SECRET = {
    "AMQP_URL": "amqp://rabbitmq:5672/", "AMQP_USER": "pipeline", "AMQP_PASSWORD": "neither-is-this",
}  # fmt: skip

ENVIRONMENT = s3.environment(f"http://s3.{STORES}:9000") | POSTGRES_SECRET
"""What a process in the namespaces needs in its environment to use both stores."""


def install_operator(cluster: Cluster) -> None:
    """The Flink operator and its CRDs, which are in one of its jars."""
    [api] = programs.flink_operator().glob("flink-kubernetes-operator-api-*.jar")
    with zipfile.ZipFile(api) as jar:
        for name in jar.namelist():
            if name.startswith("META-INF/fabric8/") and name.endswith("-v1.yml"):
                cluster.kubectl("create", "-f", "-", text=jar.read(name).decode())
    cluster.apply(MANIFESTS / "operator.yaml")


def start_stores(cluster: Cluster) -> None:
    """The S3 server, without buckets, and PostgreSQL, without tables; their data is in ``data_of(cluster)``."""
    data = data_of(cluster)
    for name in ("s3", "postgres"):
        (data / name).mkdir(parents=True)
        (data / name).chmod(0o777)  # PostgreSQL's user in the container is nobody here
    cluster.kubectl("create", "namespace", STORES)
    put_secrets(cluster, STORES)
    text = (MANIFESTS / "stores.yaml").read_text().replace("STATE", str(data))
    cluster.kubectl("apply", "-f", "-", text=text)


def data_of(cluster: Cluster) -> Path:
    """The folder of the stores' data: ``s3/BUCKET/KEY`` are the objects."""
    return cluster.folder / "stores"


def put_secrets(cluster: Cluster, namespace: str) -> None:
    """The credentials of the stores and of RabbitMQ, which are on no command line of ours."""
    secrets = {
        "s3-credentials": S3_SECRET, "postgres-credentials": POSTGRES_SECRET, "amqp-credentials": RABBITMQ_SECRET,
    }  # fmt: skip
    for name, values in secrets.items():
        metadata = {"name": name, "namespace": namespace}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
        cluster.kubectl("apply", "-f", "-", text=json.dumps(secret))


def start_rabbitmq(cluster: Cluster) -> None:
    """RabbitMQ and `watch` of the overlay, with a volume, and a store that sends its events there."""
    folder = data_of(cluster) / "rabbitmq"
    folder.mkdir()
    folder.chmod(0o777)  # as of PostgreSQL
    _apply_telling_store(cluster)
    cluster.apply(MANIFESTS / "watch")


def start_telling_store(cluster: Cluster) -> None:
    """The store that sends events once more: it doesn't connect to RabbitMQ again."""
    cluster.kubectl("delete", f"--namespace={STORES}", "pod", "s3-telling")
    _apply_telling_store(cluster)
    cluster.wait_for("pod/s3-telling", "condition=Ready", STORES)


def _apply_telling_store(cluster: Cluster) -> None:
    text = (MANIFESTS / "rabbitmq.yaml").read_text().replace("STATE", str(data_of(cluster)))
    cluster.kubectl("apply", "-f", "-", text=text)


def query(cluster: Cluster, statement: str) -> str:
    """What PostgreSQL answers, one line a row, columns apart by ``|``."""
    psql = ("psql", "--host=/tmp", "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement)
    return cluster.kubectl("exec", f"--namespace={STORES}", "postgres-0", "--", *psql).strip()


def stop_postgres(cluster: Cluster, seconds: float) -> None:
    """Ends PostgreSQL's pod, and starts another over the same data after so many seconds."""
    scale = ("scale", f"--namespace={STORES}", "statefulset/postgres")
    cluster.kubectl(*scale, "--replicas=0")
    cluster.kubectl("wait", f"--namespace={STORES}", "pod/postgres-0", "--for=delete", "--timeout=60s")
    time.sleep(seconds)
    cluster.kubectl(*scale, "--replicas=1")
