"""What the machine must have for a Kubernetes of its own, and what installs it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.k8s import node, programs

PACKAGES = {
    "containerd": "containerd", "runc": "runc", "buildah": "buildah", "debootstrap": "debootstrap",
    "iptables": "iptables", "conntrack": "conntrack", "busybox": "busybox-static", "ip": "iproute2",
    "openssl": "openssl", "unshare": "util-linux", "nsenter": "util-linux", "mvn": "maven",
}  # fmt: skip
"""Programs and the Debian packages that bring them."""

CNI_PLUGINS = ("ptp", "host-local", "portmap", "loopback")
FREE_BYTES = 12e9
"""For images, as archives and unpacked, and what a build leaves: a node under disk pressure runs no pods."""


class MachineLacks(RuntimeError):
    """The machine can't run Kubernetes; the message says what is missing and what to do."""


def check() -> None:
    """Returns if the machine has it all.

    Raises:
      MachineLacks: it doesn't.
    """
    if lacking := missing():
        raise MachineLacks("this machine can't run Kubernetes; missing:\n  " + "\n  ".join(lacking))


def missing() -> list[str]:
    """What is missing, each with what to do; empty if all is there."""
    found = []
    if os.geteuid() != 0:
        found.append("root: namespaces, mounts and cgroups can't be made by others (run it as root)")
    found += _missing_hierarchies()
    packages = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    if not all((Path("/usr/lib/cni") / plugin).exists() for plugin in CNI_PLUGINS):
        packages.add("containernetworking-plugins")
    if packages:
        install = "apt-get install --no-install-recommends"
        found.append(f"programs: {install} {' '.join(sorted(packages))}")
    if shutil.which("go") is None:
        found.append("Go 1.24 or newer on the PATH, to build Kubernetes")
    if shutil.disk_usage(programs.cache()).free < FREE_BYTES:
        found.append(f"disk: {FREE_BYTES / 1e9:.0f} GB free where {programs.cache()} is")
    return found


def _missing_hierarchies() -> list[str]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mounted = {place for _, place, kind, *_ in mounts if kind == "cgroup"}
    absent = [name for name in (*node.HIERARCHIES, "systemd") if f"/sys/fs/cgroup/{name}" not in mounted]
    if not absent:
        return []
    return [
        f"cgroup v1 with the hierarchies {', '.join(absent)}, each mounted by itself in /sys/fs/cgroup "
        "(a machine with version 2 has none)"
    ]
