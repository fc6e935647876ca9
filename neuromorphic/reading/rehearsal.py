"""A rehearsal: work that may crash or hang a C library, done in a forked process first, where it does no harm.

HDF5's library believes what a file says of itself.  A single flipped bit can send it into an endless loop or kill the
process (docs/hostile_files.md has figures), and Python can neither interrupt the one nor survive the other.
"""

import faulthandler
import gc
import math
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from neuromorphic.errors import RefusedInput

SECONDS = 20.0
"""Of the processor, that a file may take, whatever its size: a busy machine takes longer, but not more of these."""

BYTES_PER_SECOND = 1e6
"""Of the file, that it may take beyond."""

PATIENCE = 900.0
"""Seconds by the clock after which a copy that waits instead of computing is given up."""


def rehearse(work: Callable[[], object], path: Path) -> None:
    """Do `work` on the file `path` in a copy of this process; what it returns or raises is thrown away.

    The copy is forked, so that it starts in milliseconds; where there is no fork, there is no rehearsal.

    Raises:
        RefusedInput: the copy was killed by a signal, or did not end within its share of the processor.
    """
    if not hasattr(os, "fork"):
        return
    seconds = math.ceil(SECONDS + path.stat().st_size / BYTES_PER_SECOND)
    with warnings.catch_warnings():
        # Python warns of forking beside threads, for the locks that they may hold.  The copy runs HDF5 and nothing
        # else; should it wait for such a lock, it runs out of patience.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _perform(work, seconds)
    code = _wait(child)
    if code is None:
        raise RefusedInput(f"{path}: HDF5 did not finish reading it within {PATIENCE:.0f} s; is the file damaged?")
    if code < 0:
        name = signal.Signals(-code).name
        if name == "SIGXCPU":
            raise RefusedInput(
                f"{path}: HDF5 did not finish reading it within {seconds} s of the processor; is the file damaged?"
            )
        if name == "SIGKILL":  # which no library sends
            raise RefusedInput(
                f"{path}: something killed the process that reads it, as the system does where memory runs out; "
                "expected more memory"
            )
        raise RefusedInput(f"{path}: HDF5 died of it ({name}); expected an HDF5 file that is not damaged")


def _perform(work: Callable[[], object], seconds: int) -> None:
    """Do `work` and end this process: silently, and without any of the parent's clean-up.

    The kernel ends it after so many seconds of the processor.
    """
    try:
        import resource  # where there is fork, there is this

        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds if most < 0 else min(seconds, most), most))
        faulthandler.disable()
        gc.disable()  # it writes to whatever it looks at, and the copy shares all of that with the parent until then
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        work()
    except BaseException:  # the parent will raise the same, and say it
        os._exit(1)
    os._exit(0)


def _wait(child: int) -> int | None:
    """The exit code of `child`, negative for a signal; None when it had to be killed after `PATIENCE`."""
    end, pause = time.monotonic() + PATIENCE, 0.001
    try:
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                child = 0
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return None
            time.sleep(pause)
            pause = min(1.2 * pause, 0.05)  # most copies end within hundredths, so that little is waited for nothing
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
