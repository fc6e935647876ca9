"""The keeper: makes the folder of a run and removes it, and the run's processes, even if the command is killed.

It is a process of its own, since a process can't clean up after a `kill -9` of itself.  It outlives the command: its
standard input ends when the command does, however that ends.  This file is run by its path, so it imports Python's own
modules only.

Linux's /proc lists the processes of a group, and /dev/shm its shared memory, by name: a group that had to be killed
can't remove its segments itself.  Without these two, the group is still ended.
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

PREFIX = "spikeclip-"
"""How the names of folders begin."""

_PROC, _SHARED_MEMORY = Path("/proc"), Path("/dev/shm")


def main() -> None:
    """Make a folder and write its name; when standard input ends, end the process group of its last line, and clean up.

    Each line is the id of a process group, or 0 for none.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with suppress(BrokenPipeError):  # the command was over before it could hear of it
        os.write(1, os.fsencode(f"{folder}\n"))
    group = 0
    for line in sys.stdin:
        group = int(line)
    if group:
        end_group(group)
    remove(folder)


def end_group(group: int) -> None:
    """End every process of a group."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(group, how)
        deadline = time.monotonic() + GRACE
        while _members(group) and time.monotonic() < deadline:  # dying processes may still write
            time.sleep(0.02)


def remove(folder: Path) -> None:
    """Remove the folder of a run that is over, and its shared memory."""
    shutil.rmtree(folder, ignore_errors=True)
    for segment in _SHARED_MEMORY.glob(f"{segments(folder)}*"):
        segment.unlink(missing_ok=True)


def segments(folder: Path) -> str:
    """The prefix of the names of a run's shared memory: `psm_`, as Python's names have, and the folder's own part."""
    return f"psm_{folder.name.removeprefix(PREFIX)}_"


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
