"""Targets by name, as they are without options."""

import nir
import numpy as np

from neuromorphic.reading.build import from_nir
from neuromorphic.targets.target import Lava, target_of
from tests.neuromorphic.graphs import chain


def test_lava_runs_what_its_own_processes_lack_where_they_are_not_asked_for():
    ones = np.ones(3, np.float32)
    graph = from_nir(chain({"li": nir.LI(tau=ones, r=ones, v_leak=0 * ones)}, (3,), (3,)))
    assert target_of("lava").refuses(graph) == []
    assert ["sends its membranes" in reason for reason in Lava(stock=True).refuses(graph)] == [True]
