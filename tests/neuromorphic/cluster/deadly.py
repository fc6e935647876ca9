"""A simulation that tests give to workers, which import it from here."""

from dataclasses import dataclass

from neuromorphic.runs.cli_shards import Simulation
from tests.neuromorphic.cluster.tasks import die_the_first_time


@dataclass(frozen=True)
class DeadlySimulation(Simulation):
    """A simulation whose worker dies the first time that it begins the second shard."""

    def __call__(self, given, progress, write=None):
        if given.number == 1:
            die_the_first_time("simulation")
        return super().__call__(given, progress, write)
