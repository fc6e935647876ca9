"""`--cluster` says where shards run.

local[:N]           N processes on this machine; as many as it has cores by default
tcp://HOST:PORT     the workers of a running dask scheduler; tls:// likewise
FILE.yaml[:N]       N jobs of a batch system, by dask-jobqueue and its own file of settings
"""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from neuromorphic.cluster.jobs import SYSTEMS, Submitted, job_queue, submit
from neuromorphic.errors import RefusedInput, SimulationFailed, shown

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

DEATHS = 10
"""Workers that may die while they run one shard; with more, the run fails, since the shard seems to kill them."""

PATIENCE = 20
"""Seconds in which a scheduler has to answer, and seconds without a result after which workers are looked for."""

EXPECTED = "expected local[:N], tcp://HOST:PORT, or FILE.yaml[:N] of dask-jobqueue"


@dataclass(frozen=True)
class Local:
    """Processes on this machine."""

    workers: int


@dataclass(frozen=True)
class Scheduler:
    """A running dask scheduler."""

    address: str


@dataclass(frozen=True)
class Jobs:
    """Jobs of a batch system, with the `settings` for it in dask-jobqueue's file."""

    file: Path
    system: str
    settings: dict[str, Any]
    jobs: int


@dataclass(frozen=True)
class Starting:
    """Processes on this machine that start, or have started."""

    workers: "Future[Workers]"


Place = Local | Scheduler | Jobs | Starting


def own_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse(spec: str) -> Place:
    """The place that `--cluster` names.

    Raises:
        RefusedInput: it names none.
        ImportError: dask.distributed, or dask-jobqueue for a file, is not installed.
    """
    import distributed  # noqa: F401  # before anything else is done

    if spec.startswith(("tcp://", "tls://")):
        host, _, port = spec.partition("://")[2].rpartition(":")
        if not host or not port.isdecimal():
            raise RefusedInput(f"--cluster {spec}: {EXPECTED}")
        return Scheduler(spec)
    name, _, last = spec.rpartition(":")
    number = int(last) if name and last.isdecimal() else None
    name = spec if number is None else name
    if number == 0:
        raise RefusedInput(f"--cluster {spec}: nobody to work; expected 1 or more")
    if name == "local":
        return Local(number or own_cores())
    if name.endswith((".yaml", ".yml")):
        return _jobs(Path(name), number or 1)
    raise RefusedInput(f"--cluster {spec}: {EXPECTED}")


def _jobs(file: Path, number: int) -> Jobs:
    import dask_jobqueue  # noqa: F401
    import yaml

    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RefusedInput(f"--cluster {file}: not a readable YAML file ({shown(str(error))})") from error
    systems = found.get("jobqueue") if isinstance(found, dict) else None
    if not isinstance(systems, dict) or len(systems) != 1 or not set(systems) <= set(SYSTEMS):
        raise RefusedInput(
            f"--cluster {file}: expected 'jobqueue:' with the settings of one of {', '.join(SYSTEMS)}; "
            f"found {shown(found)}"
        )
    ((system, settings),) = systems.items()
    if not isinstance(settings, dict):
        raise RefusedInput(f"--cluster {file}: jobqueue.{system} is {shown(settings)}; expected settings by name")
    return Jobs(file, system, settings, number)


@dataclass(frozen=True)
class Workers:
    """The workers that compute shards.

    Attributes:
        client: dask's client of their scheduler.
        jobs: that they run in, if jobs were submitted.
    """

    client: "Client"
    jobs: Submitted | None = None

    def threads(self) -> int:
        """The number of shards that can run at the same time now."""
        return sum(self.client.nthreads().values())

    def look(self) -> None:
        """Warn if there is no worker.

        Raises:
            SimulationFailed: there is none, and none will come.
        """
        if self.threads():
            return
        if self.jobs is not None and self.jobs.ended():
            raise SimulationFailed(
                f"{self.jobs}: all ended before the run did; time limit, memory? Their words are in slurm-*.out, "
                "or in the log-directory that the file names; --resume keeps finished shards"
            )
        whose = "at the scheduler" if self.jobs is None else f"of {self.jobs}"
        logging.getLogger(__name__).warning("no worker %s; waiting", whose)


@contextmanager
def started(place: Place, imports: Sequence[str]) -> Iterator[Place]:
    """The same place; processes on this machine start while the block does what has to be done before.

    Args:
        place: where shards will run.
        imports: modules that they will need, which those processes import meanwhile.
    """
    if not isinstance(place, Local):
        yield place
        return
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        yield Starting(pool.submit(stack.enter_context, connected(place, imports)))


@contextmanager
def _closed(cluster: "LocalCluster") -> Iterator["LocalCluster"]:
    """The cluster, which ends with the block."""
    from distributed import Status

    try:
        yield cluster
    finally:
        try:
            cluster.close()
        except AssertionError:  # dask's: it was about to start a process in the place of one that died
            cluster.status = Status.failed  # else it would wait for itself
            cluster.close()


@contextmanager
def connected(place: Place, imports: Sequence[str] = ()) -> Iterator[Workers]:
    """The workers at a place; those that are started for it end with the block.

    Args:
        place: where they are.
        imports: modules that processes on this machine import when they start.

    Raises:
        RefusedInput: no scheduler answers there, or the batch system takes no job.
    """
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # deaths of workers are no news here
    # Dask makes workers return memory to the system at once; getting it again took a quarter of their time.
    environment = dask.config.get("distributed.nanny.pre-spawn-environ")
    keeping = {key: value for key, value in environment.items() if key != "MALLOC_TRIM_THRESHOLD_"}
    ours = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.nanny.pre-spawn-environ": keeping,
        # The data of dask's dashboard, which nobody opens here, took 3 % of a core in each of its processes.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "10s",
        "distributed.worker.memory.monitor-interval": "1s",
    }
    with dask.config.set(ours):
        match place:
            case Local(workers):
                local = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=0,  # a worker near a limit would stop without a word
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": ":0"},  # its HTTP server: any free port
                    silence_logs=logging.CRITICAL,
                    preload=list(imports),
                )
                with (
                    _closed(local) as cluster,
                    closing(Client(cluster, set_as_default=False)) as client,  # the thread that ends it may be another
                ):
                    yield Workers(client)
            case Scheduler(address):
                try:
                    client = Client(address, timeout=PATIENCE)
                except (OSError, ValueError) as error:
                    raise RefusedInput(f"--cluster {address}: no dask scheduler answers ({error})") from error
                with client:
                    yield Workers(client)
            case Jobs(file, system, settings, jobs):
                with job_queue(file, system, settings) as cluster, Client(cluster) as client:
                    yield Workers(client, submit(cluster, file, system, jobs))
            case Starting(workers):
                yield workers.result()
            case unknown:
                assert_never(unknown)
