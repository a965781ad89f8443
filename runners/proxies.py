"""Proxies are for other machines: what runs on this one is reached directly."""

from __future__ import annotations

import os

_HERE = ("localhost", "127.0.0.1", "::1")
_BEFORE_NO_PROXY = "no_grpc_proxy"  # what gRPC takes instead, if it is there


def never_for_localhost() -> None:
    """Adds this machine to ``no_proxy``, for this process and those it starts.

    With ``http_proxy`` set, gRPC would ask the proxy for the workers of this machine, and urllib for a local Flink.
    """
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for name in ("no_proxy", "NO_PROXY", *([_BEFORE_NO_PROXY] if _BEFORE_NO_PROXY in os.environ else [])):
        hosts = [host for host in map(str.strip, (os.environ.get(name) or given).split(",")) if host]
        os.environ[name] = ",".join([*hosts, *(host for host in _HERE if host not in hosts)])
