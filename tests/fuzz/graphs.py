"""Random NIR graphs with parameters that are often wrong, as a hypothesis strategy.

`NODES` is the list to add a type of node to: each entry draws a node that reads a map of the given shape.
"""

import json
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from itertools import pairwise
from math import prod

import nir
import numpy as np
from hypothesis import strategies as st

from neuromorphic.ops import READERS, Conventions
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from neuromorphic.reading.flattening import flattened

ODD_NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 3, 7, 64, 5000, 2**20, 2**31, 2**40, 2**62, -(2**63), 0.5, 1e-45, 1e300, np.nan, np.inf, True]
)
ODD = st.one_of(
    ODD_NUMBERS,
    st.lists(ODD_NUMBERS, max_size=3).map(np.array),
    st.sampled_from(["same", "valid", "", "x\n\x1b", None, {"a": 1}, b"\xff", np.zeros((0, 2)), np.ones((2, 2), bool)]),
    st.sampled_from([np.ones(2, complex), np.array("text"), np.array([{}], object), np.float16(1), np.uint64(2**63)]),
)
SIZES = st.sampled_from([1, 2, 3, 3, 4, 6, 6, 9, 16, 1000, 2**17, 2**33])
NAMES = st.one_of(st.sampled_from("abcdefgh"), st.sampled_from(["a.b", "a/b", ".", "", "\n", "\udcff", "Ω", "x" * 500]))
CONVENTIONS = Conventions(1e-4, 1e-4)
STEPS = st.sampled_from([1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 2**20, 2**40])

Shape = tuple[int, ...]


def _numbers(draw, shape: Shape, dtype=np.float32):
    """An array of the shape, or where that is large one that only claims it; now and then something odd."""
    chance = draw(st.integers(0, 39))
    if chance == 0:
        return draw(ODD)
    if chance == 1:
        shape = shape[::-1]
    number = draw(st.sampled_from([1, 1, 1, 0.5, 2, 1e-4, 3e38] if chance else [-1, 0]))
    return np.broadcast_to(dtype(number), shape) if np.prod(shape, dtype=float) < 2**40 else np.ones(1, dtype)


def _pair(draw):
    return draw(ODD) if draw(st.integers(0, 29)) == 0 else np.array([draw(STEPS), draw(STEPS)])


def _padding(draw):
    word = draw(st.sampled_from([0, 0, 0, 1, 1, 2, 4000, 2**31, "same", "valid", None]))
    return _pair(draw) if word is None else word


def conv(draw, shape: Shape):
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    out, channels = draw(st.integers(1, 4)), min(shape[0], 64)
    weight, bias = _numbers(draw, (out, channels, *kernel)), _numbers(draw, (out,))
    groups = draw(ODD) if draw(st.integers(0, 29)) == 0 else 1
    return partial(nir.Conv2d, None, weight, _pair(draw), _padding(draw), _pair(draw), groups, bias)


def pool(draw, shape: Shape):
    return partial(draw(st.sampled_from([nir.SumPool2d, nir.AvgPool2d])), _pair(draw), _pair(draw), _padding(draw))


def maximum(draw, shape: Shape):
    return partial(MaxPool2d, np.array(shape), _pair(draw), _pair(draw), np.array([draw(st.integers(0, 1))] * 2))


def attention(draw, shape: Shape):
    heads, scale = draw(st.one_of(st.integers(1, 3), ODD)), draw(st.one_of(st.just(1), ODD))
    return partial(SpikingSelfAttention, np.array(shape), heads, scale)


def conv1d(draw, shape: Shape):
    out = draw(st.integers(1, 4))
    weight = _numbers(draw, (out, min(shape[0], 64), draw(st.integers(1, 3))))
    padding = draw(st.sampled_from([0, 0, 1, 4000, "same", 2**40]))
    return partial(nir.Conv1d, None, weight, draw(STEPS), padding, draw(STEPS), 1, _numbers(draw, (out,)))


def scale(draw, shape: Shape):
    return partial(nir.Scale, _numbers(draw, draw(st.sampled_from([shape, shape, (1,)]))))


def delay(draw, shape: Shape):
    steps = draw(st.sampled_from([0, 1, 1, 2, 2, 63, 64, 5000, -1, 0.5]))
    like = draw(st.sampled_from([shape, shape, (1,)]))
    return partial(nir.Delay, np.broadcast_to(np.float32(steps * 1e-4), like) if prod(like) < 2**40 else steps)


NEURONS = {
    nir.LIF: ("tau", "r", "v_threshold"),
    nir.IF: ("r", "v_threshold"),
    nir.CubaLIF: ("tau_syn", "tau_mem", "r", "v_threshold", "w_in"),
    nir.Threshold: ("threshold",),
    nir.I: ("r",),
    nir.LI: ("tau", "r"),
    nir.CubaLI: ("tau_syn", "tau_mem", "r", "w_in"),
}
"""Parameters that are drawn; leaks and resets are 0, or now and then 1/2."""


def neurons(draw, shape: Shape):
    kind = draw(st.sampled_from([nir.LIF, *NEURONS]))
    like = draw(st.sampled_from([shape, shape, (1,)]))
    parameters = {key: _numbers(draw, like) for key in NEURONS[kind]}
    first = np.shape(next(iter(parameters.values())))
    names = {f.name for f in fields(kind)}
    for key in {"v_leak", "v_reset"} & names:
        parameters[key] = np.broadcast_to(np.float32(draw(st.sampled_from([0, 0, 0, 0.5]))), first)
    return partial(kind, **parameters)


def nested(draw, shape: Shape):
    """A subgraph of neurons that may read themselves."""
    inner, end = neurons(draw, shape), np.array(shape)
    back = draw(st.sampled_from([[], [("lif", "lif")], [("out", "in")]]))

    def build():
        nodes = {"in": nir.Input(end), "lif": inner(), "out": nir.Output(end)}
        return nir.NIRGraph(nodes, [("in", "lif"), ("lif", "out"), *back], type_check=False)

    return build


def affine(draw, shape: Shape):
    out = draw(st.integers(1, 3))
    return partial(nir.Affine, _numbers(draw, (out, min(shape[0], 2**12))), _numbers(draw, (out,)))


def linear(draw, shape: Shape):
    return partial(nir.Linear, _numbers(draw, (draw(st.integers(1, 3)), min(shape[0], 2**12))))


def flatten(draw, shape: Shape):
    start, end = (draw(ODD) if draw(st.integers(0, 29)) == 0 else usual for usual in (0, -1))
    return partial(nir.Flatten, {"input": None}, start, end)


def boundary(draw, shape: Shape):
    declared = draw(ODD) if draw(st.integers(0, 4)) == 0 else np.array(shape)
    return partial(draw(st.sampled_from([nir.Input, nir.Output])), {"input": declared, "output": declared})


NODES: list[Callable[..., partial]] = [
    conv, conv, conv1d, pool, maximum, attention, neurons, neurons, neurons, neurons, affine, linear, scale, delay,
    flatten, flatten, nested,
]  # fmt: skip
STRANGE: list[Callable[..., partial]] = [boundary]


def _text(draw):
    value = st.one_of(ODD_NUMBERS.map(lambda n: n if isinstance(n, bool) else float(n)), st.text(max_size=3))
    tree = st.recursive(value | st.none(), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner))
    document = {"format_version": 1, "dt": 1e-4, "time_steps": draw(st.sampled_from([1, 2, 4096, 2**40]))}
    keys = ["preprocessing", "input_bits", "label_names", "certificate", "twin", "readout", "loihi2", "dt"]
    document |= draw(st.dictionaries(st.sampled_from(keys), tree, max_size=2))
    return json.dumps(document)


def _left_of(node: nir.NIRNode, shape: Shape) -> Shape:
    """The shape that a node leaves, if the code under test takes it: so that graphs go on behind it."""
    if isinstance(node, nir.NIRGraph):
        return shape
    if prod(shape) > 2**20:
        return shape
    try:
        if isinstance(node, nir.Flatten):
            return flattened(node, shape, "node")
        return READERS[type(node)].read(node, shape, "node", CONVENTIONS).leaves
    except Exception:  # odd parameters lead constructors anywhere; the graph itself is what the code is tried with
        return shape


@st.composite
def graphs(draw):
    """A chain of up to five nodes between an input and an output that may fit, with a few edges too many."""
    shape: Shape = (draw(SIZES), *draw(st.sampled_from([(), (3, 3), (4, 2), (1, 1)])))
    if draw(st.integers(0, 9)) == 0:
        shape = tuple(draw(st.lists(SIZES, max_size=4)))
    nodes = {"input": nir.Input(np.array(shape))}
    current = shape or (1,)
    for i in range(draw(st.integers(1, 5))):
        make = draw(st.sampled_from(NODES if draw(st.integers(0, 29)) else STRANGE))
        name = f"n{i}" if draw(st.integers(0, 39)) else draw(NAMES)
        build = make(draw, current)
        try:
            with np.errstate(all="ignore"):
                nodes[name] = build()
        except Exception:  # nir's constructors refuse it, in their own ways: no file could hold it
            continue
        current = _left_of(nodes[name], current)
    names = list(nodes)
    edges = list(pairwise(names))
    nodes["output"] = nir.Output(np.array(current))
    edges.append((names[-1], "output"))
    more = st.tuples(st.sampled_from([*nodes, "nowhere"]), st.sampled_from(list(nodes)))
    edges += draw(st.lists(more, max_size=2)) if draw(st.integers(0, 2)) == 0 else []
    metadata = {"spikeclip": _text(draw)} if draw(st.integers(0, 4)) == 0 else {}
    return nir.NIRGraph(nodes, edges, metadata=metadata, type_check=False)
