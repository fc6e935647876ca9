"""A neuron that is written again is the one that was read: time constants, gains, leaks, thresholds, by name."""

import nir
import numpy as np
import pytest

from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import DT, chain

N = 3


def numbers(node: type) -> dict[str, np.ndarray]:
    """Different numbers for every parameter and neuron; time constants between 2 and 9 steps."""
    draw = np.random.default_rng(5)
    keys = {
        nir.IF: ("r", "v_threshold", "v_reset"),
        nir.LIF: ("tau", "r", "v_leak", "v_threshold", "v_reset"),
        nir.CubaLIF: ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
        nir.I: ("r",),
        nir.LI: ("tau", "r", "v_leak"),
        nir.CubaLI: ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    }[node]
    values = {key: draw.uniform(0.5, 2.0, N) for key in keys}
    values |= {key: draw.uniform(2, 9, N) * DT for key in keys if key.startswith("tau")}
    if "v_reset" in values:
        values["v_reset"] -= values["v_threshold"] + 1
    return values


@pytest.mark.parametrize("node", [nir.IF, nir.LIF, nir.CubaLIF, nir.I, nir.LI, nir.CubaLI])
def test_what_is_written_is_what_was_read(node):
    given = numbers(node)
    read = from_nir(chain({"n": node(**given)}, (N,), (N,))).nodes["n"]
    written = read.operation.write(read.shapes, DT)
    assert type(written) is node
    for key, value in given.items():
        np.testing.assert_allclose(getattr(written, key), value, rtol=1e-5, err_msg=key)
