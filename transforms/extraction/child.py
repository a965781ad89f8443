"""The process in which pages are extracted: ``python -m transforms.extraction.child ENGINE MEMORY_BYTES``.

Takes pages from stdin, one after another (length as 8 bytes, then UTF-8), and answers on stdout in the same form: JSON
of ``Extracted``, or ``{"error": ...}``. It ends with its stdin.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import struct
import sys
from typing import BinaryIO

from transforms.extraction.engines import engine_named

LENGTH = struct.Struct("<Q")


def receive(stream: BinaryIO) -> bytes | None:
    """The next message, None at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    data = stream.read(size)
    return data if len(data) == size else None


def main(engine_name: str, memory_bytes: int) -> None:
    """Answers pages until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an engine prints is no answer
    engine = engine_named(engine_name)
    engine("<html><head><title>t</title></head><body><p>warm</p></body></html>")
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _answer(answers, {"ready": True})
    while (data := receive(sys.stdin.buffer)) is not None:
        try:
            answer = dataclasses.asdict(engine(data.decode("utf-8", "replace")))
        except MemoryError:
            answer = {"error": "memory"}
        except RecursionError:
            answer = {"error": "nesting"}
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; the page is told with it
            answer = {"error": "extractor", "what": repr(error)[:200]}
        _answer(answers, answer)


def _answer(answers: BinaryIO, answer: dict[str, object]) -> None:
    data = json.dumps(answer).encode()
    answers.write(LENGTH.pack(len(data)) + data)
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
