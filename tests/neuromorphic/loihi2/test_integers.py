"""Operations in integers by what they are: sums of spikes are synapses on the chip, and stay sums on the host."""

import nir
import numpy as np

from neuromorphic.loihi2.quantise import quantise
from neuromorphic.ops import Conv2d, SumPool2d
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.chip import integrate_and_fire
from tests.neuromorphic.graphs import chain, lif


def averages():
    return nir.AvgPool2d(np.array([2, 1]), np.array([2, 1]), np.array([0, 0]))


def test_averages_are_synapses_on_the_chip_and_undivided_sums_on_the_host():
    nodes = {
        "s": lif((2, 4, 3), 0.5),
        "on_chip": averages(),
        "if": integrate_and_fire((2, 2, 3), 0.5),
        "on_host": averages(),
    }
    graph = from_nir(chain(nodes, (2, 4, 3), (2, 1, 3)))
    found, _ = quantise(graph, np.random.default_rng(0).normal(size=(4, 2, 4, 3)).astype(np.float32))
    chip, host = (found.nodes[name].operation for name in ("on_chip", "on_host"))
    assert isinstance(chip, Conv2d)
    assert (chip.groups, chip.weight.shape, chip.stride) == (2, (2, 1, 2, 1), (2, 1))
    assert np.ptp(chip.weight) == 0
    assert chip.weight.flat[0] == np.rint(chip.weight.flat[0]) > 0
    assert isinstance(host, SumPool2d)
    assert (host.kernel_size, host.divisor) == ((2, 1), 1)
