"""Bounds of a convolution whose input is alike at every position are those of the whole map, computed once per kind."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neuromorphic.errors import RefusedInput
from neuromorphic.ops import Conv2d, Interval
from neuromorphic.ops.operation import Weighted
from neuromorphic.ops.types import Shapes


@st.composite
def convolutions(draw):
    """A convolution and the shape of the map that it reads; kernels that reach beyond the map on both sides too."""
    groups, inner, outer = (draw(st.integers(1, 3)) for _ in range(3))
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weight = (rng.integers(-8, 9, (groups * outer, inner, *kernel)) / 4).astype(np.float32)
    conv = Conv2d(weight, np.zeros(groups * outer, np.float32), stride, padding, dilation, groups)
    return conv, (groups * inner, draw(st.integers(1, 7)), draw(st.integers(1, 7))), rng


@given(convolutions())
@settings(max_examples=200, deadline=None)
def test_bounds_of_alike_maps_are_those_of_the_whole_map(example):
    conv, shape, rng = example
    try:
        height, width = conv.windows.size(shape, "conv")
    except RefusedInput:
        assume(False)
    shapes = Shapes(shape, (len(conv.weight), height, width))
    low = np.broadcast_to(-rng.integers(0, 4, (shape[0], 1, 1)) / 2, shape)
    high = np.broadcast_to(rng.integers(0, 4, (shape[0], 1, 1)) / 2, shape)
    found = conv.interval(Interval(low, high), shapes, 4)
    expected = Weighted.interval(conv, Interval(low, high), shapes, 4)
    np.testing.assert_array_equal(found.low, expected.low)
    np.testing.assert_array_equal(found.high, expected.high)
    corner = high.copy()
    corner[0, -1, -1] += 1  # one position apart: the whole map is computed
    apart = conv.interval(Interval(low, corner), shapes, 4)
    np.testing.assert_array_equal(apart.high, Weighted.interval(conv, Interval(low, corner), shapes, 4).high)


@pytest.mark.parametrize("high", [np.nan, np.inf])
def test_numbers_that_are_not_finite_stay_so(high):
    conv = Conv2d(np.ones((1, 1, 3, 3), np.float32), np.zeros(1, np.float32), (1, 1), (1, 1), (1, 1), 1)
    shapes = Shapes((1, 4, 4), (1, 4, 4))
    with np.errstate(invalid="ignore"):
        found = conv.interval(Interval(np.zeros((1, 4, 4)), np.full((1, 4, 4), high)), shapes, 4)
    assert not np.isfinite(found.high).any()
