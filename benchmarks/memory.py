"""Memory of the processes that this one starts."""

import os
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Self

INTERVAL = 0.2
"""Seconds between two samples."""


class PeakMemory:
    """`max_t Σ_p resident_p(t)` over the descendants of this process, sampled while the context lasts.

    Pages that several of them share count once for each, so this is more than the machine has to have.

    Attributes:
        bytes: the sum at its highest.
        processes: how many they were then.
    """

    def __init__(self) -> None:
        self.bytes, self.processes = 0, 0
        self._over = Event()
        self._sampling = Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._sampling.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._sampling.join()

    def _sample(self) -> None:
        while not self._over.wait(INTERVAL):
            resident = _descendants(os.getpid())
            if sum(resident) > self.bytes:
                self.bytes, self.processes = sum(resident), len(resident)


def _descendants(root: int) -> list[int]:
    """Resident bytes of each process below `root`."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # "pid (name) state parent ...", where the name may hold anything; resident pages are the 24th field
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            pid = int(entry.parent.name)
            children.setdefault(int(fields[1]), []).append(pid)
            resident[pid] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += [resident[pid] for pid in below]
        waiting += below
    return found
