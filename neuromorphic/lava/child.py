"""The child process that runs Lava: `python -m neuromorphic.lava.child FOLDER`, started by `simulation`.

Reads the job in FOLDER, writes the steps done and to do as lines on standard output, and leaves the results in FOLDER.
Whatever Lava prints goes to standard error.  Lava's runtime waits for ever for a process that died or raised, and
outlives a parent that was killed; so both are watched here.
"""

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from threading import Event, Lock, Thread
from time import sleep

from neuromorphic.lava.job import Job
from neuromorphic.lava.network import Network

_ENDING = Lock()
"""Held by the thread that ends this process, for ever: what it has begun to tidy up, it finishes."""


def main() -> None:
    """Run the job; exit code 0 when done, 1 after a traceback on standard error."""
    folder = Path(sys.argv[1])
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # Lava keeps some ten files open for each process
    try:
        network = Network(Job.read(folder), folder)
        network.start()
        done = Event()
        Thread(target=_end_with_any, args=(multiprocessing.active_children(), done), daemon=True).start()
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


def _end_with_parent(folder: Path) -> None:
    """Standard input ends when the parent does, however it ends; then leave nothing behind.

    Lava's processes may still write into the folder, so they end before it is removed, and this one last.
    """
    while os.read(0, 4096):
        pass
    _ENDING.acquire()
    for process in multiprocessing.active_children():
        with suppress(ValueError):  # closed by Lava since
            process.kill()
    for _ in range(500):  # what is dying may have been about to write, and so may the main thread
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        sleep(0.02)
    os.killpg(0, signal.SIGTERM)


def _end_with_any(processes: list[multiprocessing.Process], done: Event) -> None:
    """End when one of Lava's processes does before its time, saying why."""
    ended = wait([process.sentinel for process in processes])
    if done.is_set():
        return
    for process in processes:
        if process.sentinel in ended:
            multiprocessing.Process.join(process, timeout=5)  # Lava's own join takes no limit
            found = getattr(process, "exception", None)  # Lava's: (exception, traceback as text)
            sys.stderr.write(found[1] if found else f"a process of Lava ended with exit code {process.exitcode}\n")
    _exit(1)


def _exit(code: int) -> None:
    """Exit without waiting for Lava's processes; the parent ends their group."""
    _ENDING.acquire()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
