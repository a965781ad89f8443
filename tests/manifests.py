"""What is wrong with Kubernetes manifests, found without a cluster: ``make test`` renders and checks all of flink-k8s.

kustomize is built from its Go module. The resource definitions of Flink's operator come from its jar on Maven, those of
RabbitMQ's from its Go module, each once a machine. The schemas of Kubernetes are in the package kubernetes-validate.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from runners.flink_distribution import flink_home
from tests import building
from tests.k8s import programs

FLINK_K8S = Path(__file__).parents[1] / "flink-k8s"

KUSTOMIZE = "v5.7.1"  # as in kubectl 1.34
KUBERNETES_SCHEMA = programs.KUBERNETES.removeprefix("v").rpartition(".")[0]

Manifest = dict[str, Any]

MAIN_CONTAINER = "flink-main-container"

FLINK_PLUGIN_KEYS = ("s3.", "metrics.reporter.")
"""Keys whose names Flink doesn't know: it hands them to plugins."""

RABBITMQ_OPERATOR = "v2.16.1"
_RABBITMQ_SHA256 = "7d9a7aeb34d8971e2ecfe4d775264a2be6c8a64b6bb958ed0b13315b00865913"
OTHERS_IMAGES = {"docker.io/library/rabbitmq:4.1.3-management"}
"""Images that the Dockerfile doesn't make: those that RabbitMQ's operator was released with."""

RESOURCES = ("cpu", "memory", "ephemeral-storage")

# What a rendered container or its pod must say, and where either may say it.
_POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_HOST = ("hostNetwork", "hostPID", "hostIPC")


def render(folder: Path) -> list[Manifest]:
    """The objects of a kustomization, as ``kubectl apply -k`` would send them."""
    built = subprocess.run([_kustomize(), "build", folder], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return list(yaml.load_all(built.stdout, yaml.CSafeLoader))


def faults(manifests: list[Manifest], version: str) -> list[str]:
    """What is wrong with the objects of an overlay, one sentence each.

    Args:
      version: that all images must have as their tag.
    """
    found = []
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        found += [f"{name}: {fault}" for fault in _schema_faults(json.dumps(manifest))]
        if manifest["kind"] == "FlinkDeployment":
            unknown = sorted(set(manifest["spec"]["flinkConfiguration"]) - _known_to_flink(manifest))
            found += [f"{name}: Flink has no option {key}" for key in unknown]
        for pod in pods_of(manifest):
            found += [f"{name}: {fault}" for fault in [*_pod_faults(pod), *_image_faults(pod, version)]]
    return found


def pods_of(manifest: Manifest) -> list[Manifest]:
    """The pods that an object makes, those of Flink as Flink completes their templates."""
    if manifest["kind"] == "RabbitmqCluster":  # the operator makes pods of its own
        return []
    if manifest["kind"] != "FlinkDeployment":
        template = manifest.get("spec", {}).get("template")
        return [template] if template else []
    spec, pods = manifest["spec"], []
    for role, component in (("jobManager", "jobmanager"), ("taskManager", "taskmanager")):
        pod = copy.deepcopy(spec[role]["podTemplate"])
        pod["metadata"].setdefault("labels", {}).update(app=manifest["metadata"]["name"], component=component)
        [main] = [container for container in pod["spec"]["containers"] if container["name"] == MAIN_CONTAINER]
        main["image"] = spec["image"]
        for limits in main.setdefault("resources", {}).values():
            limits |= {key: str(spec[role].get("resource", {})[key]) for key in ("cpu", "memory")}
        pods.append(pod)
    return pods


@functools.cache
def _schema_faults(text: str) -> list[str]:
    manifest = json.loads(text)
    if manifest["apiVersion"].startswith("rabbitmq.com/"):
        return _definition_faults(_rabbitmq_schema(), manifest)
    if manifest["apiVersion"].startswith("flink.apache.org/"):
        found = _definition_faults(_operator_schema(manifest["kind"]), manifest)
        for pod in pods_of(manifest):  # the operator knows the fields of older pods
            found += _schema_faults(json.dumps(pod | {"metadata": pod["metadata"] | {"name": "flink"}}))
        return found
    try:
        kubernetes_validate.validate(manifest, KUBERNETES_SCHEMA, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def _definition_faults(schema: jsonschema.Draft202012Validator, manifest: Manifest) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(manifest)]


def _pod_faults(pod: Manifest) -> Iterator[str]:
    spec = pod["spec"]
    security = spec.get("securityContext", {})
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        name = f"container {container['name']}"
        own = container.get("securityContext", {})
        for key, wanted in _POD_SECURITY.items():
            if (said := own.get(key, security.get(key))) != wanted:
                yield f"{name}: {key} is {said}, not {wanted}"
        user = own.get("runAsUser", security.get("runAsUser"))
        if not user:
            yield f"{name}: runAsUser is {user}, not the number of a user other than root"
        for key, wanted in _CONTAINER_SECURITY.items():
            if (said := own.get(key)) != wanted:
                yield f"{name}: {key} is {said}, not {wanted}"
        if own.get("privileged"):
            yield f"{name}: it is privileged"
        for kind in ("requests", "limits"):
            for resource in RESOURCES:
                if resource not in container.get("resources", {}).get(kind, {}):
                    yield f"{name}: {kind} of {resource} are missing"
    for key in _HOST:
        if spec.get(key):
            yield f"{key} is on"
    for volume in spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a folder of the node"


def _image_faults(pod: Manifest, version: str) -> Iterator[str]:
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        image = container["image"]
        if image in OTHERS_IMAGES:
            continue
        name, colon, tag = image.rpartition("/")[2].partition(":")
        if not colon:
            yield f"container {container['name']}: image {image} has no tag"
        elif tag != version:
            yield f"container {container['name']}: image {image} isn't of version {version}"
        if name.removeprefix("beam-pipeline-") not in dockerfile_targets():
            yield f"container {container['name']}: image {image} isn't made by the Dockerfile"


@functools.cache
def dockerfile_stages() -> dict[str, list[str]]:
    """The lines of each stage of the Dockerfile."""
    stages: dict[str, list[str]] = {}
    for line in (FLINK_K8S / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM "):
            stages[line.partition(" AS ")[2]] = []
        if stages and line and not line.startswith("#"):
            list(stages.values())[-1].append(line)
    return stages


def dockerfile_targets() -> set[str]:
    """The stages that are labelled: the images."""
    return {name for name, lines in dockerfile_stages().items() if any(line.startswith("LABEL ") for line in lines)}


@functools.cache
def _kustomize() -> Path:
    return building.made(programs.cache() / f"kustomize-{KUSTOMIZE}", _build_kustomize) / "kustomize"


def _build_kustomize(work: Path) -> None:
    module = "sigs.k8s.io/kustomize/kustomize/v5"
    building.go_module(work / "build", module, KUSTOMIZE)
    building.go_build(work / "build", work / "kustomize", module)


def _fetch_operator_api(work: Path) -> None:
    artifact = f"-Dartifact=org.apache.flink:flink-kubernetes-operator-api:{programs.OPERATOR}"
    copy_plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    building.call(["mvn", "--batch-mode", "--quiet", copy_plugin, artifact, f"-DoutputDirectory={work}"], work)


@functools.cache
def _operator_schema(kind: str) -> jsonschema.Draft202012Validator:
    """The operator's definition of a kind of object as a JSON schema that refuses what it doesn't know."""
    jar = f"flink-kubernetes-operator-api-{programs.OPERATOR}.jar"
    target = building.made(programs.cache() / f"flink-operator-api-{programs.OPERATOR}", _fetch_operator_api)
    with zipfile.ZipFile(target / jar) as packed:
        text = packed.read(f"META-INF/fabric8/{kind.lower()}s.flink.apache.org-v1.yml")
    return _validator(text)


def _fetch_rabbitmq_operator(work: Path) -> None:
    module = f"github.com/rabbitmq/cluster-operator/v2@{RABBITMQ_OPERATOR}"
    told = building.call(["env", "GOSUMDB=off", "go", "mod", "download", "-json", module], work)
    definition = Path(json.loads(told)["Dir"]) / "config" / "crd" / "bases" / "rabbitmq.com_rabbitmqclusters.yaml"
    (work / definition.name).write_bytes(definition.read_bytes())


@functools.cache
def _rabbitmq_schema() -> jsonschema.Draft202012Validator:
    """The definition of ``RabbitmqCluster``, strict as Flink's."""
    target = building.made(programs.cache() / f"rabbitmq-operator-{RABBITMQ_OPERATOR}", _fetch_rabbitmq_operator)
    data = (target / "rabbitmq.com_rabbitmqclusters.yaml").read_bytes()
    assert hashlib.sha256(data).hexdigest() == _RABBITMQ_SHA256
    return _validator(data)


def _validator(definition_text: bytes) -> jsonschema.Draft202012Validator:
    definition = yaml.load(definition_text, yaml.CSafeLoader)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {}}
    return jsonschema.Draft202012Validator(_strict(schema))


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items()}
    # A field may be called `properties`: what it maps to is a schema then, and no map of schemas.
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        closed.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    return closed


def _known_to_flink(manifest: Manifest) -> set[str]:
    """Those keys of the Flink configuration that Flink, whose classes of options hold them as text, knows."""
    options = _flink_options()
    keys = manifest["spec"]["flinkConfiguration"]
    return {key for key in keys if key.startswith(FLINK_PLUGIN_KEYS) or _constant(key) in options}


def _constant(text: str) -> bytes:
    """A text in a class file's pool of constants."""
    return b"\x01" + len(text).to_bytes(2, "big") + text.encode()


@functools.cache
def _flink_options() -> bytes:
    """The class files that name Flink's options."""
    found = io.BytesIO()
    [jar] = (flink_home() / "lib").glob("flink-dist-*.jar")
    with zipfile.ZipFile(jar) as packed:
        for name in packed.namelist():
            if name.startswith("org/apache/flink/") and "Options" in name:
                found.write(packed.read(name))
    return found.getvalue()
