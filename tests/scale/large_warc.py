"""Memory of ``extract`` over large web archives: ``python -m tests.scale.large_warc [MB]``.

One is compressed by record, one in a single gzip member, one not at all. In each are 2,000 pages, some of megabytes, a
hundred thousand records without text, and pictures for the rest of the size.
"""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from rich.console import Console

from tests import runs
from tests.scale.measured import Watch
from tests.web.warcs import TEXT, page, record, response

MOST_BYTES = 1_500_000_000
PAGES, WITHOUT_TEXT, LARGE_PAGES = 2_000, 100_000, 20


def records(size: int) -> Iterator[bytes]:
    """Records of about ``size`` bytes together."""
    chance = random.Random(1)
    words = TEXT.split()
    written = 0
    for number in range(WITHOUT_TEXT):
        made = record(response(b"gone", status="404 Not Found"), url=f"http://mill.example/gone/{number}")
        if number % (WITHOUT_TEXT // PAGES) == 0:
            count = 500_000 if number % (WITHOUT_TEXT // LARGE_PAGES) == 0 else chance.randrange(50, 3000)
            body = page(" ".join(chance.choices(words, k=count))).encode()
            made += record(response(body), url=f"http://mill.example/{number}")
        written += len(made)
        yield made
    while written < size:
        picture = chance.randbytes(1 << 20)
        made = record(response(picture, "Content-Type: image/png"), url=f"http://mill.example/{written}.png")
        written += len(made)
        yield made


def by_record(file: BinaryIO, size: int) -> None:
    """A member a record, as Common Crawl writes them."""
    for made in records(size):
        file.write(gzip.compress(made, 1))


def one_member(file: BinaryIO, size: int) -> None:
    """All in one member, which can't be split."""
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        for made in records(size):
            packed.write(made)


def plain(file: BinaryIO, size: int) -> None:
    """Not compressed."""
    file.writelines(records(size))


FORMS: dict[str, Callable[[BinaryIO, int], None]] = {
    "by-record.warc.gz": by_record, "one-member.warc.gz": one_member, "plain.warc": plain,
}  # fmt: skip


def main(megabytes: int) -> int:
    """Returns the exit status: 1 if it took too much memory."""
    console, worst = Console(width=160), 0
    with tempfile.TemporaryDirectory(prefix="warc-", dir=os.environ.get("SCALE_DIR")) as name:
        for form, write in FORMS.items():
            source, output = Path(name) / form, Path(name) / f"{form}.out"
            with source.open("wb") as file:
                write(file, megabytes * 1_000_000)
            command = runs.command("extract", "--input", source, "--output", output, "--direct_num_workers", 1)
            started = time.monotonic()
            with Watch() as watch:
                subprocess.run(command, cwd=runs.ROOT, check=True, stderr=subprocess.DEVNULL)
            manifest = runs.manifest(output)
            most = watch.memory.together
            console.print(
                f"{form}: {source.stat().st_size / 1e6:,.0f} MB, {manifest['records']:,} records, "
                f"{manifest['extracted']:,} pages, {time.monotonic() - started:.0f} s; "
                f"{most / 1e6:,.0f} MB of memory, command, worker and extractor together"
            )
            worst = max(worst, most)
            source.unlink()
    return 1 if worst > MOST_BYTES else 0


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["1000"])[0])))
