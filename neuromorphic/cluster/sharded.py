"""Computes the shards of a run in this process or on a cluster; the results are the same, in the same order.

Shards are ranges of images that follow from data and settings.  A task computes a small result from a shard's images;
where, when, and how often it was started doesn't matter.
"""

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from neuromorphic.cluster import places
from neuromorphic.cluster.finished import Finished, always
from neuromorphic.cluster.places import Place, connected, parse
from neuromorphic.cluster.ranges import Progress, silent
from neuromorphic.cluster.versions import versions
from neuromorphic.errors import SimulationFailed, number

D = TypeVar("D")
R = TypeVar("R")

LOOKS = 20
"""How often new workers are looked for in `places.PATIENCE` seconds."""


@dataclass(frozen=True)
class Sharing:
    """How the shards of a run are shared out.

    Attributes:
        place: where they run; None for this process.
        resume: the folder that keeps finished shards; None for none.
    """

    place: Place | None
    resume: Path | None

    @classmethod
    def of(cls, cluster: str | None, resume: Path | None) -> "Sharing | None":
        """From `--cluster` and `--resume`; None if neither is given."""
        if cluster is None and resume is None:
            return None
        return cls(None if cluster is None else parse(cluster), resume)

    @contextmanager
    def started(self, imports: Sequence[str] = ()) -> Iterator["Sharing"]:
        """The same, whose processes on this machine start while the block prepares the run (`places.started`)."""
        if self.place is None:
            yield self
            return
        with places.started(self.place, imports) as place:
            yield replace(self, place=place)

    def apart(self, name: str) -> "Sharing":
        """The same for one of several runs of a command, which keeps its shards in a folder `name` of its own."""
        return Sharing(self.place, None if self.resume is None else self.resume / name)


def sharded(
    task: Callable[[D, Progress], R],
    given: Callable[[int, slice], D],
    shards: Sequence[slice],
    sharing: Sharing | None = None,
    run: Callable[[], Mapping[str, Any]] = dict,
    classes: Sequence[type] = (),
    stands: Callable[[int, R], bool] = always,
    progress: Progress = silent,
) -> list[R]:
    """The results of `task` on every shard, in their order.

    Args:
        task: computes a result from its argument, and tells (images done, images of the shard).  It is sent to workers
            once, and must not depend on what ran before.
        given: makes the argument of `task` from a shard's number and images; it is sent with the shard.
        shards: the images of each.
        sharing: how they are shared out; None for one after the other in this process, without keeping them.
        run: all that the results depend on, for finished shards: JSON-compatible, with hashes of graph, data and
            settings.
        classes: of records in the results, besides numbers, text, arrays and collections of these.
        stands: as of `Finished`.
        progress: told (images done, images in all).

    Raises:
        RefusedInput: as of `Finished` and `places.connected`.
        SimulationFailed: a shard ended too many workers, or the cluster went away.
        Exception: as of `task`.
    """
    finished: Finished[R] | None = None
    results: dict[int, R] = {}
    if sharing is not None and sharing.resume is not None:
        finished = Finished(sharing.resume, classes, stands)
        finished.open(run(), shards)
        found = ((shard, finished.get(shard)) for shard in range(len(shards)))
        results = {shard: result for shard, result in found if result is not None}
    total = sum(part.stop - part.start for part in shards)
    missing = [shard for shard in range(len(shards)) if shard not in results]

    done = sum(shards[shard].stop - shards[shard].start for shard in results)

    def within(images: int, of: int) -> None:
        progress(done + images, total)

    progress(done, total)
    ran = ((shard, task(given(shard, shards[shard]), within)) for shard in missing)
    if sharing is not None and sharing.place is not None:
        ran = _on_workers(task, given, shards, missing, sharing.place)
    for shard, result in ran:
        if finished is not None:
            finished.put(shard, result)
        results[shard] = result
        done += shards[shard].stop - shards[shard].start
        progress(done, total)
    return [results[shard] for shard in range(len(shards))]


def _on_workers(
    task: Callable[[D, Progress], R],
    given: Callable[[int, slice], D],
    shards: Sequence[slice],
    missing: Sequence[int],
    place: Place,
) -> Generator[tuple[int, R], None, None]:
    """Results as they come, with the number of the shard; shards of workers that died are computed by others."""
    if not missing:
        return
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    from neuromorphic.cluster.worker import compute, held

    with connected(place) as workers, held(task, workers.client) as name:
        waiting, running = deque(missing), dict[Any, int]()
        completed = SimpleQueue[Any]()

        def feed() -> None:
            """Send a shard to each worker that has none, and no second one while another worker has none."""
            most = max(1, workers.threads())
            while waiting and len(running) < most:
                shard = waiting.popleft()
                part = given(shard, shards[shard])
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # dask's, of arguments above 10 MB
                    future = workers.client.submit(compute, name, versions(), part, pure=False)
                running[future] = shard
                future.add_done_callback(completed.put)

        def next_completed() -> Any:
            while True:
                for _ in range(LOOKS):
                    try:
                        return completed.get(timeout=places.PATIENCE / LOOKS)
                    except Empty:
                        feed()  # workers may have come since
                workers.look()

        feed()
        while running:
            future = next_completed()
            shard = running.pop(future)
            try:
                result = future.result()
            except KilledWorker as error:
                part = shards[shard]
                deaths = number(error.allowed_failures + 1, "worker")
                raise SimulationFailed(
                    f"images {part.start} to {part.stop - 1}: {deaths} died while they ran them; is memory too small?"
                ) from error
            except FutureCancelledError as error:
                raise SimulationFailed(f"the cluster went away ({error.reason or 'no reason given'})") from error
            future.release()
            feed()
            yield shard, result
