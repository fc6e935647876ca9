"""Runs a command in a process group of its own, and ends the whole group, whatever happens.

The command's standard output is read line by line.  Its standard input stays open as long as this process lives, so
that it notices if this process is killed.  A keeper cleans up what a killed process can't (`keeper`).
"""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from neuromorphic.errors import SimulationFailed
from neuromorphic.lava import keeper

SILENCE = 300.0
"""Seconds without a line after which a command counts as hung."""

_LAST_WORDS = 2000
"""Bytes of standard error that a message quotes."""

REASONS = {
    "[Errno 24]": "it opens more files at once than the system allows; expected a higher limit (ulimit -n)",
    "[Errno 27]": "it writes a larger file than the system allows; expected a higher limit (ulimit -f)",
    "[Errno 28]": "there is no room left in /dev/shm or in the folder for temporary files; expected more",
    "exit code -7": "there is no room left in /dev/shm (SIGBUS); expected more",
    "[Errno 12]": "the system has no memory left for it; expected more, or fewer images at once",
    "MemoryError": "the system has no memory left for it; expected more, or fewer images at once",
    "can't start new thread": "the system allows it no further thread; expected more memory, or a higher limit",
}
"""What some phrases in the standard error of a failed command mean."""


@dataclass(frozen=True)
class GuardedFolder:
    """A folder, and a process group, that a keeper removes and ends if this process is killed.

    Attributes:
        folder: private to the run, empty at first.
        guard: called with the id of the process group that is to end with this process; with 0 when it has ended.
    """

    folder: Path
    guard: Callable[[int], None]


@contextmanager
def guarded_folder() -> Iterator[GuardedFolder]:
    """A folder that is removed at the end, with the shared memory named after it, even if this process is killed.

    Raises:
        SimulationFailed: no folder can be made.
    """
    command = (sys.executable, "-I", "-S", keeper.__file__)
    with subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise ValueError("the keeper has no pipes")
        folder = Path(os.fsdecode(stdout.readline().rstrip(b"\n")))
        if not folder.name:
            raise SimulationFailed(f"no folder can be made for Lava's files{_last_words(stderr.read())}")

        def guard(group: int) -> None:
            with suppress(BrokenPipeError):  # somebody killed the keeper: then this process cleans up alone
                stdin.write(b"%d\n" % group)

        try:
            yield GuardedFolder(folder, guard)
        finally:
            stdin.close()
            process.wait()
            keeper.remove(folder)  # in case somebody has killed the keeper


def run_group(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    timeout: float | None = None,
    silence: float = SILENCE,
    environment: Mapping[str, str] | None = None,
    guard: Callable[[int], None] = lambda group: None,
) -> None:
    """Run `command` to its end; afterwards no process of its group is left.

    Args:
        command: program and arguments.
        on_line: called with every line of its standard output, as it comes.
        timeout: seconds that it may take in all; None for no limit.
        silence: seconds that it may take for one line.
        environment: variables in addition to those of this process.
        guard: of the keeper that ends the group if this process is killed (`GuardedFolder`).

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
        try:
            guard(process.pid)
            if code := _follow(process, on_line, timeout, silence):
                raise SimulationFailed(_failure(code, _tail(errors)))
        except _OutOfTimeError as over:
            raise SimulationFailed(f"Lava {over} and was ended{_last_words(_tail(errors))}") from None
        finally:
            keeper.end_group(process.pid)
            guard(0)  # before its id may be another's
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


class _OutOfTimeError(Exception):
    """A limit was reached; the message says which."""


def _follow(
    process: subprocess.Popen[bytes],
    on_line: Callable[[str], None],
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
                time.sleep(0.01)  # its standard output is closed, so that select doesn't wait: it is about to end


def _exit_code(pid: int) -> int | None:
    """The exit code of a process, None while it runs; it is not reaped, so that its id remains that of the group."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _failure(code: int, written: bytes) -> str:
    """Why a command failed: in a sentence, if its standard error is known (`REASONS`); else with the end of that."""
    known = (why for words, why in REASONS.items() if words.encode() in written)
    if why := next(known, None):
        return f"Lava failed: {why}"
    return f"Lava failed ({_outcome(code)}){_last_words(written)}"


def _outcome(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"


def _tail(errors: IO[bytes]) -> bytes:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _LAST_WORDS))
    return errors.read()


def _last_words(written: bytes) -> str:
    """The end of a process's standard error, to be put behind a sentence."""
    text = written.decode(errors="replace").strip()
    return f"; its last words:\n{text}" if text else ""
