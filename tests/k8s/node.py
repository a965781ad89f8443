"""The node: first process of the namespaces, starts etcd, the control plane, containerd, kubelet and kube-proxy.

    python -m tests.k8s.node FOLDER PROGRAMS

Started by ``tests.k8s.cluster`` by way of ``unshare``. It writes ``FOLDER/ready`` when the node is Ready, and ends,
and everything in the namespaces with it, when one of the daemons ends.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

NAME = "node"
NODE_ADDRESS = "10.99.0.1"
PODS, SERVICES = "10.244.0.0/24", "10.96.0.0/16"
API_ADDRESS, DNS_ADDRESS = "10.96.0.1", "10.96.0.10"
API = f"https://{NODE_ADDRESS}:6443"
CONTAINERD = "/run/containerd/containerd.sock"
NAMESPACE = "beam-pipeline"
PAUSE_IMAGE = "localhost/pause:1"

HIERARCHIES = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")

# Kernel-wide settings that the kubelet would change. It sees files with the wanted values in their place.
SHADOWED = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}

USERS = {
    "admin": ("admin", "system:masters"),
    "kubelet": (f"system:node:{NAME}", "system:nodes"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}

_START_SECONDS = 120


def main(folder: Path, programs: Path) -> None:
    """Starts everything and waits; returns when a daemon ends."""
    os.environ["PATH"] = f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"
    for name in ("logs", "pki", "cni", "shadows"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _mount(folder)
    _network()
    _certificates(folder / "pki")
    _users(folder)
    daemons: dict[int, str] = {}

    def start(name: str, *arguments: object) -> None:
        with (folder / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [name, *map(str, arguments)], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        daemons[process.pid] = name

    _containerd(folder, start)
    _api_server(folder, start)
    _until(lambda: _kubectl(folder, "get", "--raw", "/readyz") == "ok", "the API server answers")
    _controllers(folder, start)
    _node(folder, start)
    ready = ("get", "node", NAME, "-o", 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')
    _until(lambda: _kubectl(folder, *ready) == "True", "the node is Ready")
    (folder / "ready").touch()
    while True:  # the first process of a pid namespace reaps all orphans
        pid, status = os.wait()
        if pid in daemons:
            sys.exit(f"{daemons[pid]} has ended with status {status}; see {folder}/logs/{daemons[pid]}.log")


def _call(*command: object, text: str | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, input=text, text=True)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"after {_START_SECONDS} s it isn't so that {what}")
        time.sleep(0.2)


def _mount(folder: Path) -> None:
    """This namespace's own /sys, cgroups, /run and /var; the name server of the cluster for all processes in it."""
    _call("hostname", NAME)
    _call("mount", "--make-rprivate", "/")
    _call("mount", "-t", "sysfs", "sysfs", "/sys")
    _call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/sys/fs/cgroup")
    for name, options in [*((name, name) for name in HIERARCHIES), ("systemd", "none,name=systemd")]:
        place = Path("/sys/fs/cgroup") / name
        place.mkdir()
        _call("mount", "-t", "cgroup", "-o", options, "cgroup", place)
    _call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    upper, work = folder / "var", folder / "var.work"
    upper.mkdir()
    work.mkdir()
    _call("mount", "-t", "overlay", "-o", f"lowerdir=/var,upperdir={upper},workdir={work}", "overlay", "/var")
    for setting, value in SHADOWED.items():
        _shadow(folder, Path("/proc/sys") / setting, f"{value}\n")
    search = " ".join([f"{NAMESPACE}.svc.cluster.local", "svc.cluster.local", "cluster.local"])
    _shadow(folder, Path("/etc/resolv.conf"), f"nameserver {DNS_ADDRESS}\nsearch {search}\noptions ndots:5\n")
    _shadow(folder, Path("/etc/hosts"), f"127.0.0.1 localhost\n{NODE_ADDRESS} {NAME}\n")
    _call("mount", "--make-rshared", "/")


def _shadow(folder: Path, target: Path, contents: str) -> None:
    source = folder / "shadows" / target.name
    source.write_text(contents)
    _call("mount", "--bind", source, target)


def _network() -> None:
    """An interface with a default route and nothing behind it: nothing leaves, but everything has a way."""
    _call("ip", "link", "set", "lo", "up")
    _call("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "nowhere")
    _call("ip", "addr", "add", f"{NODE_ADDRESS}/24", "dev", "eth0")
    _call("ip", "link", "set", "eth0", "up")
    _call("ip", "route", "add", "default", "dev", "eth0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _certificates(folder: Path) -> None:
    """A certificate authority, the API server's certificate, its client certificate for the kubelet, and a key to sign
    service accounts' tokens."""
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    addresses = ["127.0.0.1", NODE_ADDRESS, API_ADDRESS]
    alternatives = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)])
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-batch")
    _quietly(*new, "-x509", "-days", 2, "-subj", "/CN=ca", "-keyout", folder / "ca.key", "-out", folder / "ca.crt")
    _quietly("openssl", "genrsa", "-out", folder / "accounts.key", 2048)
    for name, subject, extension in (
        ("apiserver", "/CN=kube-apiserver", f"subjectAltName={alternatives}"),
        ("kubelet-client", "/O=system:masters/CN=kube-apiserver", "extendedKeyUsage=clientAuth"),
    ):
        key, request, certificate, extensions = (folder / f"{name}.{end}" for end in ("key", "csr", "crt", "ext"))
        extensions.write_text(extension)
        _quietly(*new, "-subj", subject, "-keyout", key, "-out", request)
        _quietly(
            "openssl", "x509", "-req", "-days", 2, "-in", request, "-out", certificate, "-extfile", extensions,
            "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial",
        )  # fmt: skip


def _quietly(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)


def _users(folder: Path) -> None:
    """A token and a kubeconfig (``NAME.conf``) for each component and the administrator."""
    lines = []
    for component, (user, group) in USERS.items():
        token = secrets.token_hex(16)
        lines.append(f'{token},{user},{component},"{group}"')
        cluster = {"server": API, "certificate-authority": str(folder / "pki" / "ca.crt")}
        _write(folder / f"{component}.conf", {
            "apiVersion": "v1", "kind": "Config", "current-context": NAME,
            "clusters": [{"name": NAME, "cluster": cluster}],
            "users": [{"name": component, "user": {"token": token}}],
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": component, "namespace": NAMESPACE}}],
        })  # fmt: skip
    (folder / "pki" / "tokens.csv").write_text("\n".join(lines) + "\n")


def _write(path: Path, contents: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(contents))


def _kubectl(folder: Path, *arguments: str) -> str:
    """What kubectl says; nothing if it fails, as it does until the API server is there."""
    done = subprocess.run(
        ["kubectl", "--kubeconfig", str(folder / "admin.conf"), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout


def _containerd(folder: Path, start: Callable[..., None]) -> None:
    ranges = [[{"subnet": PODS}]]
    bridge = {
        "type": "ptp", "ipMasq": False, "mtu": 1400,
        "ipam": {
            "type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": str(folder / "ipam")
        },
    }  # fmt: skip
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}
    (folder / "cni" / "10-pods.conflist").write_text(json.dumps(network))
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc can't give a pause container the score it is to have, and
    # fails with "can't get final child's PID from pipe".
    (folder / "containerd.toml").write_text(f"""\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
""")
    start("containerd", "--config", folder / "containerd.toml")


def _api_server(folder: Path, start: Callable[..., None]) -> None:
    clients, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    start(
        "etcd", "--data-dir", folder / "etcd", "--unsafe-no-fsync", "--name", NAME,
        "--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peers,
        "--initial-advertise-peer-urls", peers, "--initial-cluster", f"{NAME}={peers}",
    )  # fmt: skip
    pki = folder / "pki"
    start("kube-apiserver", *_flags({
        "etcd-servers": clients,
        "secure-port": 6443,
        "advertise-address": NODE_ADDRESS,
        "service-cluster-ip-range": SERVICES,
        "authorization-mode": "Node,RBAC",
        "token-auth-file": pki / "tokens.csv",
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "kubelet-client-certificate": pki / "kubelet-client.crt",
        "kubelet-client-key": pki / "kubelet-client.key",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": pki / "accounts.key",
        "service-account-signing-key-file": pki / "accounts.key",
    }))  # fmt: skip


def _controllers(folder: Path, start: Callable[..., None]) -> None:
    start("kube-controller-manager", *_flags({
        "kubeconfig": folder / "controller-manager.conf",
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": folder / "pki" / "accounts.key",
        "root-ca-file": folder / "pki" / "ca.crt",
    }))  # fmt: skip
    start("kube-scheduler", *_flags({
        "kubeconfig": folder / "scheduler.conf", "bind-address": "127.0.0.1", "leader-elect": "false",
    }))  # fmt: skip


def _node(folder: Path, start: Callable[..., None]) -> None:
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")  # of pods that don't ask the cluster's name server
    _write(folder / "kubelet.yaml", {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(folder / "pki" / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "resolvConf": str(folder / "resolv.conf"),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # images were imported and can't be pulled again
        "imageGCLowThresholdPercent": 99,
    })  # fmt: skip
    start("kubelet", *_flags({
        "config": folder / "kubelet.yaml",
        "kubeconfig": folder / "kubelet.conf",
        "node-ip": NODE_ADDRESS,
        "hostname-override": NAME,
        "root-dir": folder / "kubelet",
    }))  # fmt: skip
    _write(folder / "proxy.yaml", {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(folder / "proxy.conf")},
        "mode": "iptables",
        "hostnameOverride": NAME,
        "clusterCIDR": PODS,
        # The limits of connection tracking are the kernel's: leave them alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })  # fmt: skip
    start("kube-proxy", "--config", folder / "proxy.yaml")


def _flags(values: dict[str, object]) -> Iterable[str]:
    return [f"--{name}={value}" for name, value in values.items()]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
