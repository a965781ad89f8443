"""Images from Dockerfiles without a Docker engine: Debian's buildah runs their steps in a chroot.

The product's images come from ``flink-k8s/Dockerfile`` as it is. The one image that it starts from, Debian's, is made
by debootstrap. Layers are kept in the cache: after a change of the code only those that hold code are made again.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.k8s import programs

ROOT = Path(__file__).parents[2]
DEBIAN = "docker.io/library/debian:bookworm-slim"

_LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")

# As in the image of that name: nobody reads manuals in a container.
_SLIM = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
"""


class ImageError(RuntimeError):
    """An image can't be built; the message has the end of what the build said."""


@dataclasses.dataclass(frozen=True)
class Image:
    """An image in the store.

    Attributes:
      name: with its tag.
      archive: the image as a file that containerd imports.
      bytes: its size, uncompressed, all layers.
    """

    name: str
    archive: Path
    bytes: int


def build(
    name: str,
    dockerfile: Path,
    target: str,
    context: Path = ROOT,
    arguments: dict[str, str] | None = None,
    contexts: dict[str, Path] | None = None,
) -> Image:
    """Builds one target of a Dockerfile, or takes it from the cache if nothing it is made of has changed.

    Args:
      name: of the image, with a tag.
      context: the folder that COPY copies from.
      arguments: values for the Dockerfile's ARGs.
      contexts: folders that take the place of stages or images of these names.

    Raises:
      ImageError: a step failed.
    """
    _make_debian()
    flags = [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
    flags += [f"--build-context={key}={folder}" for key, folder in (contexts or {}).items()]
    with tempfile.TemporaryDirectory() as given:
        # This machine's certificate authorities, where the registries are reached through a proxy with one of its own.
        certificates, pip = Path(given) / "certs", Path(given) / "pip.conf"
        shutil.copytree("/etc/ssl/certs", certificates)
        pip.write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")
        flags += [f"--volume={certificates}:/etc/ssl/certs", f"--volume={pip}:/etc/pip.conf:ro"]
        if _LOCAL_AUTHORITIES.is_dir():  # from here, packages that bring authorities put the machine's own beside them
            flags.append(f"--volume={_LOCAL_AUTHORITIES}:{_LOCAL_AUTHORITIES}:ro")
        own = ["--isolation=chroot", "--layers", "--pull=never", "--format=docker", f"--file={dockerfile}"]
        _buildah("build", *own, *flags, f"--target={target}", f"--tag={name}", str(context))
    found = json.loads(_buildah("inspect", "--type=image", name))
    digest = found["FromImageID"]
    archives = programs.cache() / "images"
    archives.mkdir(exist_ok=True)
    file = name.rpartition("/")[2].replace(":", "-")
    archive = archives / f"{file}-{digest[:16]}.tar"
    if not archive.exists():
        for old in archives.glob(f"{file}-*.tar"):
            old.unlink()
        _buildah("push", name, f"docker-archive:{archive}.new:{name}")
        archive.with_name(f"{archive.name}.new").rename(archive)
    return Image(name, archive, archive.stat().st_size)


def _make_debian() -> None:
    """Puts Debian's minimal system into the store, under the name that Dockerfiles know."""
    if DEBIAN in _buildah("images", "--format={{.Name}}:{{.Tag}}").split():
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        _call("unshare", "--mount", "debootstrap", "--variant=minbase", "bookworm", str(root))
        (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(_SLIM)
        for place in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            for inner in (root / place).iterdir():
                shutil.rmtree(inner) if inner.is_dir() and not inner.is_symlink() else inner.unlink()
        container = _buildah("from", "scratch").strip()
        _buildah("add", container, str(root), "/")
        _buildah("config", "--cmd=bash", container)
        _buildah("commit", "--rm", container, DEBIAN)


def _buildah(command: str, *arguments: str) -> str:
    folder = programs.cache()
    store = [f"--root={folder / 'store'}", f"--runroot={folder / 'store.run'}", "--storage-driver=overlay"]
    return _call("buildah", *store, command, *arguments)


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout
