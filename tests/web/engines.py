"""Engines that misbehave on a page that says so, and extract all others."""

from __future__ import annotations

import os
import signal
import time

from transforms.extraction.engines import Extracted, resiliparse


def misbehaving(page: str) -> Extracted:
    if "please spin" in page:
        while True:
            pass
    if "please sleep" in page:
        time.sleep(3600)
    if "please take memory" in page:
        held = []
        while True:
            held.append(bytearray(1 << 26))
    if "please die" in page:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "please raise" in page:
        raise RuntimeError("a page that is odd")
    if "please print" in page:
        print("what an engine prints is no answer")  # noqa: T201
    return resiliparse(page)
