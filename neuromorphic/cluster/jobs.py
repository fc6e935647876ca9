"""Jobs of a batch system, by dask-jobqueue: submitted, watched, and cancelled at the end."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from neuromorphic.errors import RefusedInput, number

SYSTEMS = ("slurm", "local")
"""Kinds of schedulers by their names in dask-jobqueue's files; `local` runs jobs on this machine, for trials."""


@contextmanager
def job_queue(file: Path, system: str, settings: dict[str, Any]) -> Iterator[Any]:
    """dask-jobqueue's cluster with the settings of the file; it has no jobs until they are submitted (`submit`).

    Raises:
        RefusedInput: the file lacks a setting, or has one that isn't understood.
    """
    import dask
    import dask_jobqueue
    import dask_jobqueue.local

    kinds = {"local": dask_jobqueue.local.LocalCluster, "slurm": dask_jobqueue.SLURMCluster}
    named = {"scheduler-options": {"dashboard_address": ":0"}, **settings}  # any free port, for two runs at once
    settings = {f"jobqueue.{system}.{key}": value for key, value in named.items()}
    with dask.config.set(settings):  # jobs read it later, when they are made
        try:
            cluster = kinds[system]()
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise RefusedInput(f"--cluster {file}: jobqueue.{system} is refused ({error})") from error
        with _ended_by_sigterm(), cluster:
            yield cluster


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that jobs are cancelled; else they would stay in the queue."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():  # only there may Python handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Submitted:
    """Jobs that were submitted.

    Attributes:
        system: the batch system.
        ids: of the jobs, in that system.
    """

    system: str
    ids: frozenset[str]

    def ended(self) -> bool:
        """Whether none of them waits or runs any more, by what the batch system says."""
        alive = _on_this_machine if self.system == "local" else _in_slurms_queue
        return not alive(self.ids)

    def __str__(self) -> str:
        return f"{number(len(self.ids), 'job')} of {self.system} ({', '.join(sorted(self.ids))})"


def submit(cluster: Any, file: Path, system: str, jobs: int) -> Submitted:
    """Submit jobs.

    Raises:
        RefusedInput: the batch system refuses one; with its own message.
    """
    from distributed import Status

    async def asked() -> None:
        cluster.scale(jobs=jobs)
        await cluster  # which raises what `scale` logs

    log = logging.getLogger("tornado.application")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        cluster.sync(asked)
    except (OSError, RuntimeError, ValueError) as error:
        for job in cluster.workers.values():
            if job.job_id is None:
                job.status = Status.failed  # else closing the cluster fails: it believes that the job has yet to start
        said = (str(error).strip() or repr(error)).splitlines()[-1]
        raise RefusedInput(f"--cluster {file}: {system} takes no job ({said})") from error
    finally:
        log.setLevel(level)
    return Submitted(system, frozenset(job.job_id for job in cluster.workers.values()))


def _on_this_machine(ids: Collection[str]) -> bool:
    def runs(job: str) -> bool:
        try:
            return os.waitid(os.P_PID, int(job), os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    return any(map(runs, ids))


def _in_slurms_queue(ids: Collection[str]) -> bool:
    """Whether some of these jobs are in Slurm's queue; also true if it doesn't answer, as when it restarts."""
    asked = subprocess.run(["squeue", "--me", "--noheader", "--format=%A"], capture_output=True, text=True, check=False)
    return asked.returncode != 0 or not set(asked.stdout.split()).isdisjoint(ids)
