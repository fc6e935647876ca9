"""Runs a command in a process group of its own, and ends the whole group, whatever happens.

The command's standard output is read line by line; its standard input stays open as long as this process lives, so
that it can notice if this one is killed.  Linux's /proc tells which processes the group has and which shared memory
they map: a group that had to be killed can't remove its segments itself.  Without /proc, the group is still ended.
"""

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from neuromorphic.errors import SimulationFailed

GRACE = 5.0
"""Seconds that a group has to end after SIGTERM, before SIGKILL."""

SILENCE = 300.0
"""Seconds without a line after which a command counts as hung."""

_LAST_WORDS = 2000
_PROC, _SHARED_MEMORY = Path("/proc"), Path("/dev/shm")


def run_group(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    timeout: float | None = None,
    silence: float = SILENCE,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run `command` to its end; afterwards no process of its group and no shared memory of theirs is left.

    Args:
        command: program and arguments.
        on_line: called with every line of its standard output, as it comes.
        timeout: seconds that it may take in all; None for no limit.
        silence: seconds that it may take for one line.
        environment: variables beside this process's own.

    Raises:
        SimulationFailed: it ran over a limit or ended with another exit code than 0.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        segments: set[Path] = set()
        try:
            if code := _follow(process, on_line, segments, timeout, silence):
                raise SimulationFailed(f"Lava failed ({_outcome(code)}){_last_words(errors)}")
        except _OutOfTimeError as over:
            raise SimulationFailed(f"Lava {over} and was ended{_last_words(errors)}") from None
        finally:
            _end(process, segments)


class _OutOfTimeError(Exception):
    """A limit was reached; the message says which."""


def _follow(
    process: subprocess.Popen[bytes],
    on_line: Callable[[str], None],
    segments: set[Path],
    timeout: float | None,
    silence: float,
) -> int:
    """Pass lines on until the process exits; returns its exit code, negative for a signal."""
    stream = process.stdout
    if stream is None:
        raise ValueError("the process has no pipe at its standard output")
    start = heard = time.monotonic()
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            ready = selector.select(0.1)
            chunk = os.read(stream.fileno(), 65536) if ready else b""
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                heard = now
                # Noted as soon as there are any: nobody can be asked for them once the group was killed from outside.
                segments |= segments or _shared_memory([process.pid])
            for line in lines:
                on_line(line.decode(errors="replace"))
            code = _exit_code(process.pid)
            if code is not None and not chunk:
                return code
            if timeout is not None and now - start > timeout:
                raise _OutOfTimeError(f"took more than {timeout:g} s")
            if now - heard > silence:
                raise _OutOfTimeError(f"made no step for {silence:g} s")
            if ready and not chunk:
                time.sleep(0.1)  # its standard output is closed: select doesn't wait any more


def _exit_code(pid: int) -> int | None:
    """How the process ended, None while it runs; it is not reaped, so that its id remains that of the group."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _end(process: subprocess.Popen[bytes], segments: set[Path]) -> None:
    """End every process of the group, reap its leader, remove the segments that its processes map."""
    group = process.pid
    segments |= _shared_memory(_members(group))
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while _members(group) and time.monotonic() < deadline:
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
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


def _shared_memory(pids: list[int]) -> set[Path]:
    """The segments of Python's `multiprocessing.shared_memory` that processes map."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            for line in (_PROC / str(pid) / "maps").read_text().splitlines():
                path = Path(line.split(maxsplit=5)[-1])
                if path.parent == _SHARED_MEMORY and path.name.startswith("psm_"):
                    found.add(path)
    return found


def _outcome(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"


def _last_words(errors: IO[bytes]) -> str:
    """The end of what it wrote on standard error, to be put behind a sentence."""
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _LAST_WORDS))
    text = errors.read().decode(errors="replace").strip()
    return f"; its last words:\n{text}" if text else ""
