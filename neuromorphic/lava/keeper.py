"""The keeper: makes the folder of a run and removes it, and the run's processes, even if the command is killed.

A process of its own, since nobody tidies up after a `kill -9` of himself.  It outlives the command: its standard input
ends when the command does, however that ends.  This file is run by its path, so it imports Python's own modules only.

Linux's /proc tells which processes a group has and which shared memory they map: a group that had to be killed can't
remove its segments itself.  Without /proc, the group is still ended.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

GRACE = 5.0
"""Seconds that a group has to end after SIGTERM, before SIGKILL."""

_PROC, _SHARED_MEMORY = Path("/proc"), Path("/dev/shm")


def main() -> None:
    """Make a folder and write its name; when standard input ends, end the group that its last line names, if any.

    Lines are the ids of process groups, 0 for none.
    """
    folder = Path(tempfile.mkdtemp(prefix="spikeclip-"))
    sys.stdout.write(f"{folder}\n")
    sys.stdout.flush()
    group = 0
    for line in sys.stdin:
        group = int(line)
    if group:
        end_group(group)
    shutil.rmtree(folder, ignore_errors=True)


def end_group(group: int) -> None:
    """End every process of a group, and remove the segments of shared memory that they map."""
    segments = shared_memory(_members(group))
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(group, how)
        deadline = time.monotonic() + GRACE
        while _members(group) and time.monotonic() < deadline:  # what is dying may still write
            time.sleep(0.02)
    remove(segments)


def shared_memory(pids: list[int]) -> set[Path]:
    """The segments of Python's `multiprocessing.shared_memory` that processes map."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            for line in (_PROC / str(pid) / "maps").read_text().splitlines():
                path = Path(line.split(maxsplit=5)[-1])
                if path.parent == _SHARED_MEMORY and path.name.startswith("psm_"):
                    found.add(path)
    return found


def remove(segments: set[Path]) -> None:
    """Remove segments of shared memory, those that are still there."""
    for segment in segments:
        segment.unlink(missing_ok=True)


def _members(group: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for entry in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            # "pid (name) state parent group ...", where the name may hold anything
            state, _, member_of = entry.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(member_of) == group and state not in "ZX":
                found.append(int(entry.parent.name))
    return found


if __name__ == "__main__":
    main()
