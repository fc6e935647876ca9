"""A worker's side of a run: it holds the run's task, and computes the shards that it is sent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any
from uuid import uuid4

import cloudpickle
from distributed import Client, WorkerPlugin, get_worker

from neuromorphic.cluster.ranges import Progress, silent
from neuromorphic.cluster.versions import differing
from neuromorphic.errors import RefusedInput


class Task(WorkerPlugin):
    """The task of a run.  Dask sends it once to every worker, also to those that come later."""

    def __init__(self, packed: bytes) -> None:
        self.name = f"spikeclip-{uuid4().hex}"
        self.packed = packed

    @cached_property
    def unpacked(self) -> Callable[[Any, Progress], Any]:
        """The task, unpacked once, so that facts about its graph are derived once for all shards."""
        found: Callable[[Any, Progress], Any] = cloudpickle.loads(self.packed)
        return found


@contextmanager
def held(task: Callable[..., Any], client: Client) -> Iterator[str]:
    """The name under which the workers hold a task during the block."""
    plugin = Task(cloudpickle.dumps(task))
    client.register_plugin(plugin)
    try:
        yield plugin.name
    finally:
        with suppress(OSError):  # a cluster that went away holds nothing
            client.unregister_worker_plugin(plugin.name)


def compute(name: str, expected: dict[str, str], given: Any) -> Any:
    """The result of a shard.

    Raises:
        RefusedInput: this worker runs other code or libraries than the run, so that its results might differ.
    """
    if odd := differing(expected):
        raise RefusedInput(f"a worker of the cluster has {odd}; expected the same everywhere")
    task = get_worker().plugins[name]
    return task.unpacked(given, silent)
