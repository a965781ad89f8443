"""The process beside a worker that notes which shard has killed it (``transforms.io.deaths``).

It reads what the worker is at work on, line by line, each with a NUL before it, and what ``faulthandler`` writes to the
same pipe when a fatal signal comes. When the worker is gone and a signal was told, it writes the note; else nothing.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import time
import uuid
from typing import Any

_FATAL = re.compile(r"^Fatal Python error: (.*)$", re.MULTILINE)
_THREAD = re.compile(r"^Current thread (0x[0-9a-f]+)", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_STACK_CHARACTERS = 10_000
_TRIES, _PAUSE_SECONDS = 5, 3.0


def watch(pipe: int, worker: int) -> tuple[dict[int, dict[str, Any]], str]:
    """What a worker was at work on when it ended, by thread, and what was told of a fatal signal."""
    work: dict[int, dict[str, Any]] = {}
    report = rest = b""
    while True:
        if report and os.getppid() != worker:
            break  # a process that the worker has forked may hold the pipe open
        if not select.select([pipe], [], [], 1.0 if report else None)[0]:
            continue
        more = os.read(pipe, 1 << 16)
        if not more:
            break
        *lines, rest = (rest + more).split(b"\n")
        for line in lines:
            if line.startswith(b"\0"):
                report = b""  # whatever was told, the worker lives
                message = json.loads(line[1:])
                work.pop(message["thread"], None)
                if "name" in message:
                    work[message["thread"]] = message
            else:
                report += line + b"\n"
    return work, (report + rest).decode(errors="replace")


def notes(work: dict[int, dict[str, Any]], report: str) -> dict[str, dict[str, Any]]:
    """What is to be written, by URI: a note for what the killed thread was at work on.

    Threads of libraries have no shard of their own: then all that the worker was at work on is noted.
    """
    from transforms.io.deaths import FATAL

    fatal = _FATAL.search(report)
    name = FATAL.get(fatal.group(1)) if fatal else None
    if name is None:
        return {}
    current = _THREAD.search(report)
    thread = int(current.group(1), 16) if current else 0
    report = report[current.start() :].split("\n\n")[0] if current else report
    frame = _FRAME.search(report)
    note = {
        "signal": name,
        "place": f"{frame.group(1)}, line {frame.group(2)}, in {frame.group(3)}" if frame else "",
        "host": os.uname().nodename,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "stack": report[:_STACK_CHARACTERS],
    }
    blamed = [work[thread]] if thread in work else list(work.values())
    return {
        f"{each['uri'].rstrip('/')}/{each['name']}.{name}.{uuid.uuid4().hex}.json": {
            "name": each["name"],
            "source": each["source"],
        }
        | note
        for each in blamed
    }


def main() -> None:
    """Waits for the end of the parent process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # sent to the whole group: the worker ends, and so does this
    found = notes(*watch(sys.stdin.fileno(), os.getppid()))
    if not found:
        return
    from transforms.io import storage

    for uri, note in found.items():
        for _ in range(_TRIES):
            try:
                storage.write(uri, json.dumps(note, indent=2).encode())
                break
            except storage.StorageError:
                time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main()
