"""Fetches packages that are full of code and tables: ``python -m tests.fidelity.fetch FOLDER`` (200 MB, once).

Makefiles and YAML come with the sources of Linux, diffs with Debian's changes to a dozen of packages, tables with the
test data of programs for genomes, Markdown from npm. It needs apt-get, dpkg-deb and npm, and no rights.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

KERNEL = "linux-source-6.1"
TABLES = ("htslib-test", "samtools-test", "bedtools-test")
PATCHED = ("perl", "systemd", "vim", "python3.11", "grub2", "emacs", "openssh", "cups", "ghostscript", "php8.2")
PATCHED_MORE = ("chromium", "texlive-bin")
NPM = ("eslint", "webpack", "jest", "mocha", "express")
OF_THE_KERNEL = ("*Makefile*", "*.yaml", "*.py", "*.md", "*.mk")


def _run(*command: object, cwd: Path) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=cwd, stdout=subprocess.DEVNULL)


def fetch(folder: Path) -> None:
    """Fills the folder; what is there is left alone."""
    packages = folder / "debian"
    if not packages.exists():
        downloads = folder / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", "-qq", KERNEL, *TABLES, cwd=downloads)
        for package in downloads.glob("*.deb"):
            _run("dpkg-deb", "-x", package, folder / "unpacked", cwd=folder)
        [archive] = (folder / "unpacked/usr/src").glob("linux-source-*.tar.xz")
        _run("tar", "xf", archive, "--wildcards", *OF_THE_KERNEL, cwd=folder / "unpacked")
        archive.unlink()
        (folder / "unpacked").rename(packages)
    if not (folder / "patches").exists():
        _fetch_patches(folder / "patches-unfinished")
        (folder / "patches-unfinished").rename(folder / "patches")
    if not (folder / "npm").exists():
        (folder / "npm-unfinished").mkdir(parents=True, exist_ok=True)
        command = ("npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--prefix", ".")
        _run(*command, *NPM, cwd=folder / "npm-unfinished")
        (folder / "npm-unfinished").rename(folder / "npm")


def _fetch_patches(folder: Path) -> None:
    """The folders ``debian/`` of source packages, by lists of apt's own: the machine's stay as they are."""
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    own = Path("/etc/apt/sources.list.d/debian.sources").read_text(encoding="utf-8")
    fields = {name: re.search(rf"^{name}: *(\S+)", own, re.MULTILINE) for name in ("URIs", "Suites", "Signed-By")}
    uri, suite, key = (found[1] if found else "" for found in fields.values())
    listed = folder / "sources.list"
    listed.write_text(f"deb-src [signed-by={key}] {uri} {suite} main\n", encoding="utf-8")
    options = [f"-oDir::Etc::sourcelist={listed}", "-oDir::Etc::sourceparts=-", f"-oDir::State::lists={folder}/lists"]
    _run("apt-get", *options, "update", "-qq", cwd=folder)
    _run("apt-get", *options, "source", "-qq", "--diff-only", *PATCHED, *PATCHED_MORE, cwd=folder)
    for archive in folder.glob("*.debian.tar.xz"):
        place = folder / archive.name.split("_")[0]
        place.mkdir()
        _run("tar", "xf", archive, cwd=place)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]).resolve())
