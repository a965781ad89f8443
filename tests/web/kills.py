"""``extract`` of generated pages, killed again and again: ``python -m tests.web.kills [PAGES] [KILLS]``."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import runs
from tests.web.test_extract_command import INFO, digests
from tests.web.warcs import TEXT, by_record, page, record, response

ARCHIVES = 20


def archive(first: int, count: int) -> bytes:
    """Pages of many sizes; every fiftieth record is broken in one way or another."""
    made = [INFO]
    for i in range(first, first + count):
        chance = random.Random(i)
        body = page(" ".join(chance.choices(TEXT.split(), k=chance.randrange(50, 3000)))).encode()
        made.append(record(response(body), url=f"http://mill.example/{i}", length=30 if i % 50 == 0 else None))
    return by_record(*made)


def command(archives: Path, output: Path) -> list[str]:
    """The command whose results don't depend on kills."""
    return runs.command("extract", "--input", archives, "--output", output, "--direct_num_workers", 2)


def main(count: int, kills: int) -> None:
    """Raises if a killed extraction gives other bytes than an undisturbed one."""
    with tempfile.TemporaryDirectory() as name:
        archives, whole, killed = (Path(name) / part for part in ("archives", "whole", "killed"))
        archives.mkdir()
        each = count // ARCHIVES
        for number in range(ARCHIVES):
            (archives / f"{number:02}.warc.gz").write_bytes(archive(number * each, each))
        started = time.monotonic()
        subprocess.run(command(archives, whole), cwd=runs.ROOT, check=True)
        seconds = time.monotonic() - started
        chance = random.Random(1)
        done = 0
        while done < kills:
            before = len(digests(killed))
            running = subprocess.Popen(command(archives, killed), cwd=runs.ROOT, start_new_session=True)
            # From the third kill on it dies as soon as something more is committed: else it may never get anywhere.
            deadline = time.monotonic() + chance.uniform(1, seconds)
            while time.monotonic() < deadline and running.poll() is None:
                if done >= 3 and len(digests(killed)) > before:
                    break
                time.sleep(0.05)
            if running.poll() is not None and done < kills:
                print(f"it was done after {done} kills")
                break
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            done += 1
        subprocess.run(command(archives, killed), cwd=runs.ROOT, check=True)
        if digests(killed) != digests(whole):
            raise SystemExit("a killed extraction gives other bytes")
        print(f"{count} pages, {done} kills: {len(digests(whole))} objects, the same bytes")


if __name__ == "__main__":
    main(*(int(argument) for argument in (sys.argv[1:] + ["2000", "10"][len(sys.argv) - 1 :])))
