"""Units, exponents and the input's scale, worked out by hand: one neuron that one thing or another keeps coarse."""

import nir
import numpy as np
import pytest

from neuromorphic.analysis.streams import streams
from neuromorphic.execution.reference import run
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.integers import graded
from neuromorphic.loihi2.quantise import input_scale, quantise
from neuromorphic.loihi2.scheme import Scheme
from neuromorphic.loihi2.units import Units, best_exponents
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.chip import integrate_and_fire
from tests.neuromorphic.graphs import DT, chain, lif

EMPTY = Scheme("layer", 1.0, {}, {}, {}, {}, {})
V_LIMIT = 2**23 - 1


def fires(threshold: float = 1.0) -> nir.IF:
    return integrate_and_fire((1,), threshold)


def filtered(threshold: float = 1.0) -> nir.CubaLIF:
    """`dt / tau_syn` and `dt / tau_mem` are 1/2, and g is 1/4."""
    one = np.ones(1, np.float32)
    return nir.CubaLIF(2 * DT * one, 2 * DT * one, one, 0 * one, threshold * one, 0 * one, one)


def graph_of(weight: float, bias: float, neurons: nir.NIRNode) -> Graph:
    """Frames of -128 to 127, weighted, into one neuron, for 4 time steps."""
    w = nir.Affine(np.full((1, 1), weight, np.float32), np.full(1, bias, np.float32))
    return from_nir(chain({"w": w, "n": neurons}, (1,), (1,), 4))


CANDIDATES = {
    # u holds 64 · 128 of the largest current
    "current": (1, 0, fires(), 128 * 64 / V_LIMIT),
    "negative current": (-3, 0, fires(), 3 * 128 * 64 / V_LIMIT),
    # what is filtered adds up to 1 + 1/2 + 1/4 + 1/8
    "filtered current": (1, 0, filtered(), 128 * 1.875 * 64 / V_LIMIT),
    "threshold": (0.5, 0, fires(200), 200 / (2**17 - 1)),
    "threshold that no four steps reach": (0.5, 0, fires(1e6), 4 * 0.5 * 127 / (2**17 - 1)),
    "threshold in what an input brings": (0.5, 0, filtered(50), 50 / 0.25 / (2**17 - 1)),
    # 7/8 of 2^12, less 1 for the one synapse's own rounding, with the exponent 7
    "bias": (0.5, 100, fires(), 100 * 64 / ((3584 - 1) * 2**7)),
    "negative bias": (0.5, -100, fires(), 100 * 64 / ((3584 - 1) * 2**7)),
    # 7/8 of 127, less 1, with the exponent 7
    "drive": (0.5, 100, filtered(), 100 / ((7 / 8 * 127 - 1) * 2**7)),
}


@pytest.mark.parametrize("name", CANDIDATES)
def test_units_begin_with_the_least_that_holds_everything_and_span_an_octave(name):
    weight, bias, neurons, least = CANDIDATES[name]
    graph = graph_of(weight, bias, neurons)
    found = Units(graph, 1.0, 4).candidates(streams(graph)[0], EMPTY)
    np.testing.assert_allclose(found, [least * (1 + 1 / 32) * 2 ** (k / 4) for k in range(4)], rtol=1e-12)


def test_a_weight_keeps_a_unit_coarse_where_frames_are_small():
    """127 · 2^7 is the largest of a matrix; no room is added, which is for sums only."""
    graph = graph_of(1000, 0, fires(1e-3))
    found = Units(graph, 2.0**12, 4).candidates(streams(graph)[0], EMPTY)
    np.testing.assert_allclose(found[0], 1000 / (127 * 2**7), rtol=1e-12)


@pytest.mark.parametrize(
    ("bias", "unit", "exponent"),
    [
        (0, 1, 0),
        (3583 / 64, 1, 0),  # 7/8 of 2^12, less 1 for the synapse
        (3584 / 64, 1, 1),
        (-3584 / 64, 1, 1),
        (3583 / 16, 1, 2),
        (3583 / 16, 4, 0),
    ],
)
def test_a_biass_exponent_is_the_least_that_holds_it(bias, unit, exponent):
    graph = graph_of(1, bias, fires())
    (stream,) = streams(graph)
    found = Units(graph, 1.0, 4).scheme(stream, EMPTY, unit)
    assert found.bias_exponents == {"w": exponent, "n": exponent}
    assert found.drive_exponents == {}
    assert found.units == {"w": unit, "n": unit}


@pytest.mark.parametrize(("bias", "exponent"), [(0, 0), (110, 0), (111, 1), (220, 1), (221, 2)])
def test_a_drives_exponent_is_the_least_that_holds_it(bias, exponent):
    """7/8 of 127, less 1 for the synapse: 110.125."""
    graph = graph_of(1, bias, filtered())
    found = Units(graph, 1.0, 4).scheme(streams(graph)[0], EMPTY, 1.0)
    assert found.drive_exponents == {"w": exponent, "n": exponent}
    assert found.bias_exponents == {"w": 0, "n": 0}, "the drive is no bias of the membrane's"


@pytest.mark.parametrize(("counts", "exponent"), [(4094, 0), (4095, 1), (-4095, 1), (2 * 4095, 2)])
def test_a_corrected_bias_may_use_its_whole_width(counts, exponent):
    """4095, less 1 for the synapse."""
    graph = graph_of(1, 1, fires())
    (stream,) = streams(graph)
    units, bias = Units(graph, 1.0, 4), np.array([counts / 64], np.float32)
    found = units.with_room(stream, units.scheme(stream, EMPTY, 1.0), graph, "w", bias)
    assert found is not None
    assert found.bias_exponents["w"] == exponent


def test_a_corrected_bias_beyond_every_exponent_has_no_scheme():
    graph = graph_of(1, 1, fires())
    (stream,) = streams(graph)
    units = Units(graph, 1.0, 4)
    scheme = units.scheme(stream, EMPTY, 1.0)
    last, beyond = (np.array([n * 2**7 / 64], np.float32) for n in (4094, 4095))
    assert units.with_room(stream, scheme, graph, "w", last).bias_exponents["w"] == 7
    assert units.with_room(stream, scheme, graph, "w", beyond) is None


@pytest.mark.parametrize(
    ("values", "granularity", "largest", "exponents", "error"),
    [
        ([[127, 3]], "layer", 7, [0], 0),
        ([[-127, 3]], "layer", 7, [0], 0),
        ([[128, 0]], "layer", 7, [1], 0),
        ([[128, 1, 1]], "layer", 7, [0], 1),  # 128 is clipped by 1; halves of 1, rounded to even, are lost twice
        ([[128, 1, 1], [256, 0, 0]], "layer", 7, [2], 2 + 128 % 4),
        ([[128, 0], [1, 3], [508, 4]], "channel", 7, [1, 0, 2], 0),
        ([[1000]], "layer", 1, [1], (1000 - 254) ** 2),
        ([[0, 0]], "channel", 7, [0], 0),
    ],
)
def test_weights_share_the_exponent_of_the_least_error(values, granularity, largest, exponents, error):
    found, lost = best_exponents(np.array(values, np.float64), granularity, largest)
    assert (found.tolist(), lost) == (exponents, error)


@pytest.mark.parametrize(
    ("frames", "scale"),
    [
        ([0, 0, 0], 1),
        ([0, 1, 1], 64),  # spikes: the largest power of two with which 1 is within 127
        ([-1, 0, 0], 128),
        ([0.5, -0.25, 0], 128),
        ([0.25, -0.5, 0], 256),
        ([127, -128, 0], 1),
        ([0.3, 0, 0], 127 / float(np.float32(0.3))),  # no power of two makes it an integer
        ([0, -0.3, 0], 128 / float(np.float32(0.3))),
    ],
)
def test_frames_fill_eight_bits_by_a_power_of_two_where_that_makes_them_integers(frames, scale):
    graph = from_nir(chain({"lif": lif((3,))}, (3,), (3,)))
    assert input_scale(graph, np.array([frames], np.float32)) == scale


@pytest.mark.parametrize(("mean", "std", "scale"), [(0, 1, 127 / 255), (255, 2, 128 * 2 / 255), (55, 100, 63.5)])
def test_images_fill_eight_bits_whatever_frames_calibrate(mean, std, scale):
    settings = {"mean": [float(mean)], "std": [float(std)]}
    nodes = {"lif": lif((1, 2, 3))}
    graph = from_nir(chain(nodes, (1, 2, 3), (1, 2, 3), preprocessing={"image_size": 2, **settings}))
    assert input_scale(graph, np.ones((1, 1, 2, 3), np.float32)) == pytest.approx(scale, rel=1e-12)


def test_one_threshold_that_nothing_reaches_silences_no_neuron_beside_it():
    nodes = {"w": nir.Affine(np.eye(3) / 4, np.zeros(3)), "n": nir.IF(np.full(3, 1 / DT), np.array([1, 1e9, 0.5]))}
    frames = (np.arange(48).reshape(4, 4, 3) % 5 < 3).astype(np.float32) * 3
    whole, scheme = quantise(from_nir(chain(nodes, (3,), (3,), 4)), frames)
    assert scheme.populations["n"].disagreement == 0
    spikes = run(whole, graded(whole, frames)).spikes["n"].unpack()
    assert spikes[..., 0].any()
    assert not spikes[..., 1].any()
