"""What the cluster is made of: built from Go modules, fetched by Maven, kept in ``~/.cache/beam-pipeline/kubernetes``.

From nothing this takes ten minutes on two cores (Kubernetes seven, etcd one, CoreDNS two) and 600 MB; versions are in
the names, parts appear whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests import building
from tests.building import call, go_build, go_module

KUBERNETES = "v1.34.4"
ETCD = "v3.6.5"  # Debian's 3.4 can't report the progress of a watch: Flink's JobManager never learns of its pods
COREDNS = "v1.12.4"
OPERATOR = "1.7.0"  # the newest that the registry has; it takes Flink up to 1.19

KUBERNETES_PROGRAMS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
)  # fmt: skip

# The plugins that our Corefile names; all of CoreDNS takes far longer to build.
_COREDNS_PLUGINS = ("cache", "errors", "health", "kubernetes", "log", "ready", "reload")
_COREDNS_MAIN = """\
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
{imports}
)

func main() {{
	dnsserver.Directives = []string{{{names}}}
	coremain.Run()
}}
"""


def cache() -> Path:
    """The folder of all parts."""
    folder = building.cache() / "kubernetes"
    folder.mkdir(exist_ok=True)
    return folder


def kubernetes() -> Path:
    """A folder with Kubernetes' programs and etcd, all static."""
    return building.made(cache() / f"kubernetes-{KUBERNETES}-etcd-{ETCD}", _build_kubernetes)


def coredns() -> Path:
    """A folder with CoreDNS, static."""
    return building.made(cache() / f"coredns-{COREDNS}", _build_coredns)


def flink_operator() -> Path:
    """A folder with the jars of the Flink Kubernetes Operator, its CRDs inside one of them."""
    return building.made(cache() / f"flink-operator-{OPERATOR}", _fetch_flink_operator)


def _build_kubernetes(work: Path) -> None:
    """Kubernetes takes its staging modules (k8s.io/api and so on) from its own tree, which a module of it doesn't have:
    they are replaced by their releases, v1.34.4 by v0.34.4."""
    build = work / "kubernetes.build"
    build.mkdir()
    described = call(["go", "mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}"], work)
    shutil.copyfile(json.loads(described)["GoMod"], build / "go.mod")
    replaced = json.loads(call(["go", "mod", "edit", "-json"], build))["Replace"]
    staging = [each["Old"]["Path"] for each in replaced]
    release = KUBERNETES.replace("v1.", "v0.", 1)
    changes = [f"-replace={module}={module}@{release}" for module in staging]
    own = ["-module=local.test/kubernetes", f"-require=k8s.io/kubernetes@{KUBERNETES}"]
    call(["go", "mod", "edit", *own, *changes], build)
    stamp = f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}"
    packages = (f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES_PROGRAMS)
    go_build(build, work, *packages, linker_flags=stamp)
    shutil.rmtree(build)
    build = work / "etcd.build"
    go_module(build, "go.etcd.io/etcd/server/v3", ETCD)
    go_build(build, work / "etcd", "go.etcd.io/etcd/server/v3")
    shutil.rmtree(build)


def _build_coredns(work: Path) -> None:
    build = work / "build"
    go_module(build, "github.com/coredns/coredns", COREDNS)
    imports = "\n".join(f'\t_ "github.com/coredns/coredns/plugin/{name}"' for name in _COREDNS_PLUGINS)
    names = ", ".join(f'"{name}"' for name in _COREDNS_PLUGINS)
    (build / "main.go").write_text(_COREDNS_MAIN.format(imports=imports, names=names))
    go_build(build, work / "coredns", ".")
    shutil.rmtree(build)


def _fetch_flink_operator(work: Path) -> None:
    shutil.copy(Path(__file__).parent / "operator-pom.xml", work / "pom.xml")
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={work}"]
    call(["mvn", "--batch-mode", "--quiet", *goal, f"-Doperator.version={OPERATOR}"], work)
    (work / "pom.xml").unlink()
