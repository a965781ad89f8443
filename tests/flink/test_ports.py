"""A port that another program has taken between the choice and the start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from runners import flink_local
from runners.flink_local import Cluster


@pytest.mark.parametrize("kind", ["rest", "workers", "job"])
def test_another_is_taken(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    choose, chosen = flink_local._free_ports, []
    with socket.create_server(("0.0.0.0", 0)) as other:

        def free_ports(count: int) -> list[int]:
            ports = choose(count)
            if not chosen:
                ports[flink_local._PORTS.index(kind)] = other.getsockname()[1]
            chosen.append(ports)
            return ports

        monkeypatch.setattr(flink_local, "_free_ports", free_ports)
        cluster = Cluster.at(tmp_path / "cluster")
        try:
            cluster.up(task_managers=1)
            assert len(chosen) == 2
            assert list(cluster.ports.values()) == chosen[1]
        finally:
            cluster.down()
