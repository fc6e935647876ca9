"""Small graphs in integers of everything that a folder can hold."""

from itertools import pairwise

import nir
import numpy as np

from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate, with_scheme
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import conv, lif, max_pool, metadata

SIZE = (6, 5)


def quantised(graph, frames):
    """A graph of NIR in integers, and frames as it reads them."""
    floats = from_nir(graph, "small.nir")
    rounded, scheme = calibrate(floats, frames)
    whole = integers(with_scheme(rounded, scheme), scheme)
    return whole, graded(whole, frames)


def branching(seed=0):
    """Branches of four depths that meet, a pool of spikes, a matrix, a readout: NIR, and frames."""
    draw = np.random.default_rng(seed)

    def kernel(out, channels, size=3):
        weight = draw.normal(0, 0.6, (out, channels, size, size))
        return conv(weight, draw.normal(0, 0.2, out), padding=size // 2, hw=SIZE)

    nodes = {
        "input": nir.Input(np.array((2, *SIZE))),
        "first": kernel(4, 2),
        "a": lif((4, *SIZE)),
        "second": kernel(4, 4),
        "b": lif((4, *SIZE), 0.7),
        "skip": kernel(4, 4),
        "third": kernel(4, 4, 1),
        "c": lif((4, *SIZE)),
        "pool": nir.SumPool2d(np.array((2, 2)), np.array((2, 2)), np.array((0, 0))),
        "d": lif((4, 3, 2)),
        "flat": nir.Flatten({"input": np.array((4, 3, 2))}, 0, -1),
        "matrix": nir.Affine(draw.normal(0, 0.6, (5, 24)).astype(np.float32), np.zeros(5, np.float32)),
        "e": lif((5,), 0.5),
        "readout": nir.Affine(draw.normal(0, 0.6, (3, 5)).astype(np.float32), np.ones(3, np.float32)),
        "output": nir.Output(np.array((3,))),
    }
    edges = [
        ("input", "first"),
        ("first", "a"),
        ("a", "second"),
        ("second", "b"),
        ("a", "skip"),
        ("b", "third"),
        ("third", "c"),
        ("skip", "c"),
        ("first", "c"),
        ("c", "pool"),
        ("pool", "d"),
        ("d", "flat"),
        ("flat", "matrix"),
        ("matrix", "e"),
        ("e", "readout"),
        ("readout", "output"),
    ]
    graph = nir.NIRGraph(nodes, edges, metadata=metadata(4), type_check=False)
    return graph, draw.normal(0, 1, (5, 2, *SIZE)).astype(np.float32)


def with_maximum():
    """A maximum of currents, which no process of Lava's computes."""
    draw = np.random.default_rng(0)
    nodes = {
        "input": nir.Input(np.array((1, 4, 4))),
        "conv": conv(draw.normal(0, 1, (2, 1, 3, 3)), padding=1, hw=(4, 4)),
        "max": max_pool((2, 4, 4)),
        "lif": lif((2, 2, 2)),
        "output": nir.Output(np.array((2, 2, 2))),
    }
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(pairwise(names)), metadata=metadata(4), type_check=False)
    return graph, draw.normal(0, 1, (5, 1, 4, 4)).astype(np.float32)
