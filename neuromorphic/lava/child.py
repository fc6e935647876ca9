"""The child process that runs Lava: `python -m neuromorphic.lava.child FOLDER NAME`, started by `simulation`.

It reads the job in FOLDER, writes the steps done and to do as lines on standard output, and leaves the results in
FOLDER.  What Lava prints goes to standard error.  Lava's runtime waits for ever for a process that died or raised, and
outlives a parent that was killed; so both are watched here.
"""

import os
import resource
import signal
import sys
import traceback
from multiprocessing import shared_memory
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event, Thread

from neuromorphic.lava.job import Job
from neuromorphic.lava.keeper import segments
from neuromorphic.lava.network import Network


def main() -> None:
    """Run the job; exit code 0 when done, 1 after a traceback on standard error."""
    folder = Path(sys.argv[1])
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    Thread(target=_end_with_parent, daemon=True).start()
    started, done = _noting_started(), Event()
    Thread(target=_end_with_any, args=(started, done), daemon=True).start()
    # Segments of shared memory are named after the folder, so that they are found when it is removed.
    prefix = f"/{segments(folder)}"
    vars(shared_memory).update(_SHM_NAME_PREFIX=prefix, _SHM_SAFE_NAME_LENGTH=len(prefix) + 8)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # Lava keeps some ten files open for each process
    try:
        network = Network(Job.read(folder), folder)
        network.start()
        total, at_once = network.steps, network.job.time_steps
        print(0, total, file=lines)
        for start in range(0, total, at_once):
            network.run(min(at_once, total - start))
            print(min(start + at_once, total), total, file=lines)
        done.set()
        network.stop()
    except Exception:
        traceback.print_exc()
        _exit(1)


def _noting_started() -> list[BaseProcess]:
    """A list of all processes that Python's `multiprocessing` starts from now on; it grows with each.

    Its own `active_children` forgets those that have ended.
    """
    started: list[BaseProcess] = []
    start = BaseProcess.start

    def noted(process: BaseProcess) -> None:
        start(process)
        started.append(process)

    BaseProcess.start = noted  # type: ignore[method-assign, assignment]
    return started


def _end_with_parent() -> None:
    """End, with all of Lava's processes, when standard input ends: it does when the parent ends, however it ends."""
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGTERM)


def _end_with_any(started: list[BaseProcess], done: Event) -> None:
    """End, and say why, when one of Lava's processes ends before the job is done."""
    while not done.is_set():
        watched = list(started)
        sentinels = wait([process.sentinel for process in watched], timeout=0.2)
        ended = [process for process in watched if process.sentinel in sentinels]
        if ended and not done.is_set():
            sys.stderr.writelines(map(_last_words, ended))
            _exit(1)


def _last_words(process: BaseProcess) -> str:
    """Why a process of Lava ended: its traceback, or how it exited."""
    BaseProcess.join(process, timeout=5)  # Lava's own join takes no limit
    found = getattr(process, "exception", None)  # Lava's: (exception, traceback as text)
    return found[1] if found else f"a process of Lava ended with exit code {process.exitcode}\n"


def _exit(code: int) -> None:
    """Exit without waiting for Lava's processes; the parent ends their group."""
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
