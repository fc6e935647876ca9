"""A rehearsal: work that may crash or hang a C library is done in a forked process first, where it does no harm.

HDF5's library trusts a file's statements about itself.  A single flipped bit can send it into an endless loop or kill
the process (docs/hostile_files.md has figures); Python can neither interrupt the one nor survive the other.
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
"""Seconds of processor time that any file may take; these don't depend on how busy the machine is."""

BYTES_PER_SECOND = 1e6
"""Bytes of the file for each further second that it may take."""

PATIENCE = 900.0
"""Seconds by the clock after which a copy that waits, instead of computing, is ended."""


def rehearse(work: Callable[[], object], path: Path) -> None:
    """Do `work` on the file `path` in a copy of this process, and discard its result and its exceptions.

    The copy is forked, which takes milliseconds; on systems without fork there is no rehearsal.

    Raises:
        RefusedInput: the copy was killed by a signal, or did not end within its share of the processor.
    """
    if not hasattr(os, "fork"):
        return
    seconds = math.ceil(SECONDS + path.stat().st_size / BYTES_PER_SECOND)
    with warnings.catch_warnings():
        # Python warns of forking beside threads, since these may hold locks.  The copy runs HDF5 and nothing else;
        # should it wait for such a lock, it is ended after `PATIENCE`.
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
    """Do `work` and end this process, silently and without any clean-up of the parent's.

    The kernel ends it after so many seconds of processor time.
    """
    try:
        import resource  # where there is fork, there is this

        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds if most < 0 else min(seconds, most), most))
        faulthandler.disable()
        gc.disable()  # it writes to every object, and so copies the memory that is shared with the parent
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        work()
    except BaseException:  # the parent will raise the same
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
