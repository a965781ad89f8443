"""flink-k8s without a cluster: every overlay is rendered and checked; each check is shown to find what it looks for."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_pipeline.settings import Settings
from beam_pipeline.version import __version__
from tests.manifests import (
    FLINK_K8S,
    Manifest,
    dockerfile_stages,
    dockerfile_targets,
    faults,
    pods_of,
    render,
)

OVERLAYS = sorted(file.parent for file in (FLINK_K8S / "overlays").rglob("kustomization.yaml"))
CLUSTERS = [overlay for overlay in OVERLAYS if overlay.name not in ("run", "watch")]
SECRETS = {"s3-credentials", "postgres-credentials", "amqp-credentials"}

each_overlay = pytest.mark.parametrize(
    "overlay", OVERLAYS, ids=lambda overlay: str(overlay.relative_to(FLINK_K8S / "overlays"))
)
each_cluster = pytest.mark.parametrize("overlay", CLUSTERS, ids=lambda overlay: overlay.name)

rendered = functools.cache(render)


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    [found] = [
        manifest for manifest in manifests if manifest["kind"] == kind and name in ("", manifest["metadata"]["name"])
    ]
    return found


def together(overlay: Path) -> list[Manifest]:
    """A cluster with its run, and what watches for new objects."""
    return rendered(overlay) + rendered(overlay / "run") + rendered(overlay / "watch")


def pods(manifests: list[Manifest]) -> list[Manifest]:
    return [pod for manifest in manifests for pod in pods_of(manifest)]


@each_overlay
def test_an_overlay_has_no_faults(overlay: Path) -> None:
    assert faults(rendered(overlay), __version__) == []


def _main(manifests: list[Manifest]) -> Any:
    return one(manifests, "FlinkDeployment")["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][0]


def _workers(manifests: list[Manifest]) -> Any:
    return one(manifests, "FlinkDeployment")["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][1]


def _pod(manifests: list[Manifest]) -> Any:
    return one(manifests, "Deployment", "job-server")["spec"]["template"]["spec"]


def _flink(manifests: list[Manifest]) -> Any:
    return one(manifests, "FlinkDeployment")["spec"]


MUTATIONS: dict[str, tuple[Callable[[list[Manifest]], Any], str]] = {
    "unknown field": (lambda them: _pod(them).update(restartPolitics="Never"), "restartPolitics"),
    "unknown field of a container": (lambda them: _pod(them)["containers"][0].update(memory="1Gi"), "memory"),
    "unknown field of the operator's": (lambda them: _flink(them).update(flinkConfig={}), "flinkConfig"),
    "unknown field of Flink's pods": (
        lambda them: _workers(them).update(imagePullPolitics="Always"),
        "imagePullPolitics",
    ),
    "field of Flink's pods that the operator drops": (
        lambda them: _workers(them).update(restartPolicy="Always"),
        "restartPolicy",
    ),
    "wrong type": (
        lambda them: _flink(them)["flinkConfiguration"].update({"web.cancel.enable": True}),
        "True is not of",
    ),
    "wrong Flink version": (lambda them: _flink(them).update(flinkVersion="v1_99"), "v1_99"),
    "unknown Flink option": (
        lambda them: _flink(them)["flinkConfiguration"].update({"execution.checkpointing.dir": "s3://a/b"}),
        "Flink has no option execution.checkpointing.dir",
    ),
    "missing field": (lambda them: one(them, "Service", "job-server")["spec"]["ports"][0].pop("port"), "'port'"),
    "image without a tag": (lambda them: _workers(them).update(image="localhost/beam-pipeline-worker"), "has no tag"),
    "latest": (lambda them: _flink(them).update(image="localhost/beam-pipeline-flink:latest"), "isn't of version"),
    "port of a registry instead of a tag": (
        lambda them: _flink(them).update(image="localhost:5000/beam-pipeline-flink"),
        "has no tag",
    ),
    "image that nobody makes": (
        lambda them: _flink(them).update(image=f"localhost/beam-pipeline-beam:{__version__}"),
        "isn't made",
    ),
    "no CPU limit": (lambda them: _workers(them)["resources"]["limits"].pop("cpu"), "limits of cpu are missing"),
    "no memory request": (
        lambda them: _pod(them)["containers"][0]["resources"]["requests"].pop("memory"),
        "requests of memory are missing",
    ),
    "no resources of Flink's": (lambda them: _main(them).pop("resources"), "limits of memory are missing"),
    "no limit of what is spilled": (
        lambda them: _main(them)["resources"]["limits"].pop("ephemeral-storage"),
        "limits of ephemeral-storage are missing",
    ),
    "root": (lambda them: _pod(them)["securityContext"].update(runAsUser=0), "runAsUser is 0"),
    "root in one container": (
        lambda them: _workers(them)["securityContext"].update(runAsUser=0),
        "container workers: runAsUser is 0",
    ),
    "user unknown": (lambda them: _pod(them)["securityContext"].pop("runAsUser"), "runAsUser is None"),
    "root allowed": (lambda them: _pod(them)["securityContext"].pop("runAsNonRoot"), "runAsNonRoot is None"),
    "no seccomp": (lambda them: _pod(them)["securityContext"].pop("seccompProfile"), "seccompProfile is None"),
    "writable root file system": (
        lambda them: _main(them)["securityContext"].update(readOnlyRootFilesystem=False),
        "readOnlyRootFilesystem is False",
    ),
    "no security context": (
        lambda them: _workers(them).pop("securityContext"),
        "container workers: readOnlyRootFilesystem is None",
    ),
    "capabilities kept": (lambda them: _main(them)["securityContext"].pop("capabilities"), "capabilities is None"),
    "privileges gained": (
        lambda them: _main(them)["securityContext"].pop("allowPrivilegeEscalation"),
        "allowPrivilegeEscalation is None",
    ),
    "privileged": (lambda them: _main(them)["securityContext"].update(privileged=True), "it is privileged"),
    "the node's network": (lambda them: _pod(them).update(hostNetwork=True), "hostNetwork is on"),
    "a folder of the node": (
        lambda them: _pod(them)["volumes"].append({"name": "node", "hostPath": {"path": "/"}}),
        "volume node is a folder of the node",
    ),
    "a fault in an init container": (
        lambda them: _pod(them).update(
            initContainers=[{**_pod(them)["containers"][0], "name": "first", "securityContext": {}}]
        ),
        "container first: readOnlyRootFilesystem is None",
    ),
}


@pytest.mark.parametrize(("mutate", "said"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_a_fault_is_found(mutate: Callable[[list[Manifest]], Any], said: str) -> None:
    manifests = copy.deepcopy(rendered(FLINK_K8S / "overlays" / "single-node"))
    mutate(manifests)
    found = faults(manifests, __version__)
    assert any(said in fault for fault in found), found


@pytest.mark.parametrize(
    ("overlay", "kind", "mutate", "said"),
    [
        ("production", "RabbitmqCluster", lambda spec: spec.update(replica=3), "replica"),
        ("production", "RabbitmqCluster", lambda spec: spec["tls"].update(secret="x"), "secret"),
        ("production", "RabbitmqCluster", lambda spec: spec.update(replicas="3"), "is not of type"),
        (
            "single-node",
            "StatefulSet",
            lambda spec: spec["template"]["spec"]["containers"][0].update(image="docker.io/library/rabbitmq:latest"),
            "isn't of version",
        ),
        (
            "single-node",
            "StatefulSet",
            lambda spec: spec["template"]["spec"]["containers"][0]["securityContext"].clear(),
            "readOnlyRootFilesystem is None",
        ),
    ],
)
def test_a_fault_of_rabbitmq_is_found(overlay: str, kind: str, mutate: Callable[[Any], Any], said: str) -> None:
    manifests = copy.deepcopy(rendered(FLINK_K8S / "overlays" / overlay / "watch"))
    mutate(one(manifests, kind)["spec"])
    found = faults(manifests, __version__)
    assert any(said in fault for fault in found), found


def test_a_wrong_job_is_found() -> None:
    manifests = copy.deepcopy(rendered(FLINK_K8S / "overlays" / "single-node" / "run"))
    del one(manifests, "Job")["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"]
    assert any("'status' is a required property" in fault for fault in faults(manifests, __version__))


@each_cluster
def test_everything_referred_to_is_there(overlay: Path) -> None:
    manifests = together(overlay)
    known = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    secrets = SECRETS | ({"rabbitmq-tls"} if overlay.name == "production" else set())
    known |= {("Secret", name) for name in secrets}
    wanted = set()
    for pod in pods(manifests):
        if "serviceAccountName" in pod["spec"]:
            wanted.add(("ServiceAccount", pod["spec"]["serviceAccountName"]))
        wanted |= {
            ("ConfigMap", volume["configMap"]["name"]) for volume in pod["spec"]["volumes"] if "configMap" in volume
        }
        wanted |= {
            ("Secret", volume["secret"]["secretName"]) for volume in pod["spec"]["volumes"] if "secret" in volume
        }
        for container in pod["spec"]["containers"]:
            for source in container.get("envFrom", []):
                wanted |= {(kind[0].upper() + kind[1:-3], ref["name"]) for kind, ref in source.items()}
            for source in (variable["valueFrom"] for variable in container.get("env", []) if "valueFrom" in variable):
                wanted |= {(kind[0].upper() + kind[1:-6], ref["name"]) for kind, ref in source.items()}
    flink = one(manifests, "FlinkDeployment")["spec"]
    wanted.add(("ServiceAccount", flink["serviceAccount"]))
    wanted.add(("ServiceAccount", flink["flinkConfiguration"]["kubernetes.taskmanager.service-account"]))
    assert {name for kind, name in wanted if kind == "Secret"} == secrets
    assert wanted <= known
    assert {manifest["metadata"].get("namespace") for manifest in manifests} == {"beam-pipeline", None}


@each_cluster
def test_selectors_and_ports_meet_their_pods(overlay: Path) -> None:
    manifests = together(overlay)
    labels = [pod["metadata"]["labels"] for pod in pods(manifests)]
    selected: list[dict[str, str]] = [one(manifests, "Service", "job-server")["spec"]["selector"]]
    for manifest in manifests:
        if manifest["kind"] == "NetworkPolicy":
            rules = [rule for side in ("ingress", "egress") for rule in manifest["spec"].get(side, [])]
            peers = [peer for rule in rules for peer in rule.get("from", rule.get("to"))]
            if manifest["metadata"]["name"] == "rabbitmq" and overlay.name == "production":
                labels.append({"app.kubernetes.io/name": "rabbitmq"})  # of the operator's pods
            selectors = [peer["podSelector"] for peer in peers if "podSelector" in peer]
            selectors.append(manifest["spec"]["podSelector"])
            selected += [selector["matchLabels"] for selector in selectors if "matchLabels" in selector]
            selected += [
                {term["key"]: value}
                for selector in selectors
                for term in selector.get("matchExpressions", [])
                for value in term["values"]
            ]
        if manifest["kind"] == "PodDisruptionBudget":
            selected.append(manifest["spec"]["selector"]["matchLabels"])
    assert [wanted for wanted in selected if not any(wanted.items() <= given.items() for given in labels)] == []


@each_cluster
def test_who_runs_the_users_code_may_do_nothing(overlay: Path) -> None:
    manifests = rendered(overlay)
    kinds = {manifest["kind"] for manifest in manifests}
    assert {"ClusterRole", "ClusterRoleBinding"}.isdisjoint(kinds)
    granted = {
        subject["name"]: one(manifests, "Role", manifest["roleRef"]["name"])["rules"]
        for manifest in manifests
        if manifest["kind"] == "RoleBinding"
        for subject in manifest["subjects"]
    }
    assert granted.keys() == {"flink-jobmanager", "flink-taskmanager"}
    assert granted["flink-taskmanager"] == [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}
    ]
    for rule in granted["flink-jobmanager"]:
        assert {"secrets", "*"}.isdisjoint(rule["resources"])
        assert "*" not in rule["verbs"]
    for manifest in together(overlay):
        if manifest["kind"] != "FlinkDeployment":
            assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in pods_of(manifest))


def test_only_taskmanagers_run_on_spot_nodes() -> None:
    for pod in pods(together(FLINK_K8S / "overlays" / "production")):
        affinity = pod["spec"]["affinity"]["nodeAffinity"]
        if pod["metadata"]["labels"].get("component") == "taskmanager":
            assert pod["spec"]["tolerations"] == [
                {"key": "capacity", "operator": "Equal", "value": "spot", "effect": "NoSchedule"}
            ]
            assert "requiredDuringSchedulingIgnoredDuringExecution" not in affinity
        else:
            assert "tolerations" not in pod["spec"]
            [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
            assert term["matchExpressions"] == [{"key": "capacity", "operator": "NotIn", "values": ["spot"]}]


@each_cluster
def test_a_runs_settings_are_settings_without_secrets(overlay: Path) -> None:
    manifests = rendered(overlay / "run")
    data = next(manifest["data"] for manifest in manifests if manifest["kind"] == "ConfigMap")
    values = yaml.safe_load(data["settings.yaml"])
    settings = Settings(**(values | {"input": [values["input"]]}))
    assert settings.lineage_dsn, "a database in the pod would go with it"
    watched = one(rendered(overlay / "watch"), "ConfigMap")["data"]
    of_watch = yaml.safe_load(watched["settings.yaml"])
    assert Settings(**of_watch, input=["-"], output="-").lineage_dsn == settings.lineage_dsn
    assert watched["PARALLELISM"] == data["PARALLELISM"]
    slots = one(rendered(overlay), "FlinkDeployment")["spec"]["flinkConfiguration"]["slotmanager.number-of-slots.max"]
    assert 0 < int(data["PARALLELISM"]) <= int(slots)


def test_flinks_memory_adds_up() -> None:
    """What is given by name leaves the heap at least what the local cluster has."""
    for overlay in CLUSTERS:
        spec = one(rendered(overlay), "FlinkDeployment")["spec"]
        named = {
            key: int(value.removesuffix("m"))
            for key, value in spec["flinkConfiguration"].items()
            if key.startswith("taskmanager.memory.") and not key.endswith(".min")
        }
        assert int(spec["taskManager"]["resource"]["memory"].removesuffix("m")) - sum(named.values()) >= 384


def test_the_images_start_from_debian_and_end_as_a_user() -> None:
    text = (FLINK_K8S / "Dockerfile").read_text()
    origins = {line.split()[1] for line in text.splitlines() if line.startswith("FROM ")}
    assert origins - dockerfile_stages().keys() == {"debian:bookworm-slim"}
    assert dockerfile_targets() == {"flink", "job-server", "worker"}
    parents = {line.split()[3]: line.split()[1] for line in text.splitlines() if line.startswith("FROM ")}
    for target in dockerfile_targets():
        users: list[str] = []
        stage = target
        while stage in parents and not users:
            users = [line.split()[1] for line in dockerfile_stages()[stage] if line.startswith("USER ")]
            stage = parents[stage]
        assert users[-1] == "9999:9999", target
