"""Which shards have killed their workers: known by name on every runner, and set aside the second time.

A worker tells a process beside it (``transforms.io.death_witness``) which shard it is at work on, before and after. If
it is killed by a signal that only its own doing raises (SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE), the witness notes
that under the output, ``deaths/SHARD.SIGNAL.ID.json``. A shard that does no harm costs no request, but for a look into
an empty folder, at most once a second and worker. What dies otherwise isn't noted: a machine takes the witness with it;
SIGKILL (out of memory, too), SIGTERM and SIGINT come from outside.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import faulthandler
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping

from transforms.io import storage
from transforms.own_process import own_module

FATAL = {
    "Aborted": "SIGABRT",
    "Segmentation fault": "SIGSEGV",
    "Bus error": "SIGBUS",
    "Illegal instruction": "SIGILL",
    "Floating point exception": "SIGFPE",
}
"""The signals that are a shard's fault, by what ``faulthandler`` calls them."""

SET_ASIDE = "set aside: "
"""What the reason of a shard that is set aside begins with."""

_FRESH_SECONDS = 1.0
_listed: dict[str, tuple[float, Mapping[str, list[str]]]] = {}
_lock = threading.Lock()
_mine = threading.local()
"""``message``: what this thread was last said to be at work on."""
_witness: int | None = None
"""The pipe to this process's witness."""
_witnesses: list[subprocess.Popen[bytes]] = []
"""Kept, as they outlive what started them."""


@dataclasses.dataclass(frozen=True)
class Deaths:
    """The deaths of a run's workers.

    Attributes:
      uri: folder or prefix of the notes.
      limit: so many deaths set a shard aside; 0: never.
    """

    uri: str
    limit: int

    def by_name(self) -> Mapping[str, list[str]]:
        """The URIs of the notes of each shard or source that has killed a worker."""
        found = collections.defaultdict(list)
        with contextlib.suppress(storage.NotFound):
            for info in storage.list_objects(self.uri):
                found[info.uri.rpartition("/")[2].partition(".")[0]].append(info.uri)
        return found

    def count(self) -> int:
        """All deaths noted so far."""
        return sum(map(len, self.by_name().values()))

    def reason(self, name: str) -> str:
        """Why a shard or source is set aside; empty if it isn't. What was noted in the last second may be missed."""
        if not self.limit:
            return ""
        now = time.monotonic()
        with _lock:
            read, known = _listed.get(self.uri, (-_FRESH_SECONDS, {}))
            if now - read >= _FRESH_SECONDS:
                _listed[self.uri] = now, (known := self.by_name())
        notes = sorted(known.get(name, []))
        if len(notes) < self.limit:
            return ""
        last = json.loads(storage.read_bytes(notes[-1]))
        signals = ", ".join(sorted({note.rpartition("/")[2].split(".")[1] for note in notes}))
        return f"{SET_ASIDE}{len(notes)} workers were killed by {signals} at work on it{_place(last)}; see {self.uri}"

    def tell(self) -> list[str]:
        """A sentence on each death, in the order in which they were."""
        found = []
        for name, notes in self.by_name().items():
            each = sorted((json.loads(storage.read_bytes(uri)) for uri in notes), key=lambda note: str(note["at"]))
            for number, note in enumerate(each, 1):
                sentence = f"{note['source']}: shard {name} has killed its worker by {note['signal']}{_place(note)}"
                found.append((note["at"], f"{sentence}, death {number} of max_deaths {self.limit}"))
        return [sentence for _, sentence in sorted(found)]


def _place(note: Mapping[str, str]) -> str:
    return f" ({note['place']})" if note["place"] else ""


@contextlib.contextmanager
def at_work(deaths: Deaths | None, name: str, source: str) -> Iterator[None]:
    """In the block, this thread is at work on a shard or source; should the process be killed by it, that is noted.

    Within the block of a packed shard there may be one of each of its sources.
    """
    if deaths is None or not deaths.limit:
        yield
        return
    thread = threading.get_ident()
    around = getattr(_mine, "message", {"thread": thread})
    _mine.message = {"thread": thread, "name": name, "source": source, "uri": deaths.uri}
    _say(_mine.message)
    try:
        yield
    finally:
        _mine.message = around
        _say(around)


def _say(message: dict[str, object]) -> None:
    """Tells the witness, which is started if there is none. A worker without one does its work all the same."""
    global _witness
    line = b"\0" + json.dumps(message).encode() + b"\n"
    with _lock:
        for _ in range(2):
            if _witness is None:
                _witness = _start()
            try:
                os.write(_witness, line)
            except BrokenPipeError:  # somebody has killed it
                faulthandler.disable()
                os.close(_witness)
                _witness = None
            else:
                return


def _start() -> int:
    """Starts this process's witness; it reads what ``faulthandler`` writes when the process is killed."""
    reading, writing = os.pipe()
    command, environment = own_module("transforms.io.death_witness")
    _witnesses.append(subprocess.Popen(command, env=environment, stdin=reading, stdout=subprocess.DEVNULL))
    os.close(reading)
    faulthandler.enable(writing)
    return writing
