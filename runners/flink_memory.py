"""What the JVMs of a Flink cluster on this machine may take: what Flink's start scripts would work out and pass on.

Text never enters Flink. What does, and how much of it is in the heap at once: docs/flink.md, "Memory".
"""

from __future__ import annotations

import dataclasses

import psutil  # type: ignore[import-untyped]

_MB = 1 << 20
_FRAMEWORK = 128 * _MB
_HEAP, _NETWORK, _MANAGED, _OFF_HEAP = 512 * _MB, 256 * _MB, 256 * _MB, 128 * _MB
"""Of a slot: for the tasks and the blocks of a key; for exchanges; for RocksDB or the sorters; for gRPC."""
HEAP_SHARE = 8
"""An eighth of the machine's memory is for the heaps of all TaskManagers, where that is more than they need.

A bucket that very many documents share is one key, and all of it is in one heap. What isn't used isn't taken.
"""

JOB_MANAGER = {
    "jobmanager.memory.heap.size": 700 * _MB,
    "jobmanager.memory.off-heap.size": 128 * _MB,
    "jobmanager.memory.jvm-metaspace.size": 256 * _MB,
    "jobmanager.memory.jvm-overhead.min": 192 * _MB,
    "jobmanager.memory.jvm-overhead.max": 192 * _MB,
}
JOB_MANAGER_JAVA = ("-Xms256m", "-Xmx700m")


@dataclasses.dataclass(frozen=True)
class TaskManagerMemory:
    """Of one TaskManager: all of its slots are at work at once, each on a key of its own.

    Attributes:
      slots: of each TaskManager.
      task_managers: on this machine.
      machine: bytes of its memory.
    """

    slots: int
    task_managers: int
    machine: int = dataclasses.field(default_factory=lambda: int(psutil.virtual_memory().total))

    @property
    def heap(self) -> int:
        """Bytes that the heap may grow to."""
        return max(_HEAP * self.slots, self.machine // HEAP_SHARE // self.task_managers)

    @property
    def java(self) -> tuple[str, ...]:
        """Options of the JVM."""
        direct = _FRAMEWORK + (_NETWORK + _OFF_HEAP) * self.slots
        return ("-Xms256m", f"-Xmx{self.heap}", f"-XX:MaxDirectMemorySize={direct}")

    @property
    def settings(self) -> dict[str, int]:
        """Flink's, in bytes."""
        return {
            "taskmanager.memory.framework.heap.size": _FRAMEWORK,
            "taskmanager.memory.framework.off-heap.size": _FRAMEWORK,
            "taskmanager.memory.task.heap.size": self.heap - _FRAMEWORK,
            "taskmanager.memory.task.off-heap.size": _OFF_HEAP * self.slots,
            "taskmanager.memory.managed.size": _MANAGED * self.slots,
            "taskmanager.memory.network.min": _NETWORK * self.slots,
            "taskmanager.memory.network.max": _NETWORK * self.slots,
            "taskmanager.memory.jvm-metaspace.size": 512 * _MB,
            "taskmanager.memory.jvm-overhead.min": 192 * _MB,
            "taskmanager.memory.jvm-overhead.max": 192 * _MB,
        }
