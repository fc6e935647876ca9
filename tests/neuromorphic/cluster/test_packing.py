"""Results of shards survive their bytes; bytes of anybody else build nothing but records of known classes."""

import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import energy
from energy.counts import RECORDS
from neuromorphic.cluster.packing import pack, unpack
from neuromorphic.execution.reference import run
from neuromorphic.ir.shown import same
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import small_net


@dataclass
class Pair:
    left: Any
    right: Any = None


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["f4", "f8", "u1", "i8", "?"]).flatmap(lambda kind: arrays(kind, array_shapes(min_side=0)))
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=8,
)


def equal(one, other):
    if isinstance(one, float) and one != one:
        return isinstance(other, float) and other != other
    if isinstance(one, dict):
        return type(other) is dict and list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, Pair):
        return isinstance(other, Pair) and equal(one.left, other.left) and equal(one.right, other.right)
    return type(one) is type(other) and same(one, other)


@given(values)
def test_packing_loses_nothing(value):
    assert equal(value, unpack(pack(value), {"Pair": Pair}))


def test_the_same_value_is_the_same_bytes():
    value = {"a": np.arange(5), "b": (1, 2.5, None)}
    assert pack(value) == pack(value)


def test_counts_of_energy_survive_and_still_add_up():
    graph = from_nir(small_net())
    rng = np.random.default_rng(0)
    frames = rng.random((3, 4, *graph.nodes[graph.input].shape), np.float32)
    counts = energy.count(graph, run(graph, frames))
    back = unpack(pack(counts), {kind.__name__: kind for kind in RECORDS})
    assert back == counts
    assert type(counts).joined([back, back]) == type(counts).joined([counts, counts])


def test_a_class_that_is_not_known_is_not_made():
    with pytest.raises(ValueError, match="Pair"):
        unpack(pack(Pair(1)), {})


class Dangerous:
    def __reduce__(self):
        return Path.touch, (Path("opened"),)


def test_nothing_of_a_pickle_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = np.frombuffer(json.dumps({"array": 0}).encode(), np.uint8)
    stored = io.BytesIO()
    np.savez(stored, tree=tree, **{"0": np.array([Dangerous()], object)})
    for data in (pickle.dumps(Dangerous()), stored.getvalue()):
        with pytest.raises(ValueError):  # noqa: PT011
            unpack(data, {})
    assert not Path("opened").exists()


@given(st.binary(max_size=64), st.integers(0, 200))
def test_damaged_bytes_are_refused(noise, cut):
    whole = pack({"a": np.arange(10), "b": [1, 2]})
    for data in (noise, whole[:cut], whole[:-cut] if cut else noise):
        with pytest.raises(ValueError):  # noqa: PT011
            unpack(data, {})
