"""Products of linear operations against both in a row, on random numbers."""

import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.ops import Affine, Conv2d, Scale, Shapes, SumPool2d
from neuromorphic.ops.products import MAX_MATRIX, product


def drawn(rng, shape):
    """A random linear operation on maps, and its shapes."""
    ranges = ((1, 4), (1, 3), (0, 2), (1, 3))
    kernel, stride, padding, dilation = (tuple(int(n) for n in rng.integers(*ends, 2)) for ends in ranges)
    kind = rng.integers(4)
    if kind == 0:
        pool = SumPool2d(kernel, stride, padding, int(rng.choice([1, np.prod(kernel)])))
        return pool, Shapes(shape, (shape[0], *pool.windows.size(shape, "pool")))
    if kind == 1:
        return Scale(np.broadcast_to(rng.normal(size=(shape[0], 1, 1)), shape).astype(np.float32)), Shapes(shape, shape)
    groups = int(rng.choice([g for g in (1, 2, shape[0]) if shape[0] % g == 0]))
    weight = rng.normal(size=(groups * rng.integers(1, 3), shape[0] // groups, *kernel)).astype(np.float32)
    bias = (rng.normal(size=len(weight)) * rng.integers(0, 2)).astype(np.float32)
    conv = Conv2d(weight, bias, stride, padding, dilation, groups, tuple(int(n) for n in rng.integers(0, 2, 2)))
    return conv, Shapes(shape, (len(weight), *conv.windows.size(shape, "conv")))


def test_the_product_computes_what_both_do_in_a_row():
    rng, kinds = np.random.default_rng(0), {Affine: 0, Conv2d: 0}
    for _ in range(400):
        shape = (int(rng.choice([1, 2, 4])), *(int(n) for n in rng.integers(7, 11, 2)))
        first, of_first = drawn(rng, shape)
        try:
            second, of_second = drawn(rng, of_first.output)
        except RefusedInput:  # windows that don't fit what the first leaves
            continue
        operation, shapes = product(first, of_first, second, of_second)
        x = rng.normal(size=(2, *shape))
        expected = second.apply(first.apply(x, of_first), of_second)
        found = operation.apply(x.reshape(2, *shapes.input), shapes).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, atol=1e-9)
        kinds[type(operation)] += 1
    assert min(kinds.values()) > 50


def test_a_pool_and_a_convolution_are_one_with_numbers_as_they_were():
    rng = np.random.default_rng(1)
    kernel = (rng.integers(-8, 9, (3, 2, 3, 3)) / 8).astype(np.float32)
    pool, conv = SumPool2d((2, 2), (2, 2), (0, 0)), Conv2d(kernel, np.ones(3, np.float32), (1, 1), (1, 1), (1, 1), 1)
    operation, shapes = product(pool, Shapes((2, 8, 8), (2, 4, 4)), conv, Shapes((2, 4, 4), (3, 4, 4)))
    assert isinstance(operation, Conv2d)
    assert shapes == Shapes((2, 8, 8), (3, 4, 4))
    assert (operation.stride, operation.padding, operation.beyond) == ((2, 2), (2, 2), (0, 0))
    assert operation.weight.dtype == np.float32
    assert np.array_equal(operation.weight, kernel.repeat(2, 2).repeat(2, 3))


def test_padding_that_would_see_the_map_makes_a_matrix():
    """A pool drops the last row of five; the padding behind it stands there."""
    pool, ones = SumPool2d((2, 2), (2, 2), (0, 0)), np.ones((1, 1, 3, 3), np.float32)
    conv = Conv2d(ones, np.zeros(1, np.float32), (1, 1), (1, 1), (1, 1), 1)
    operation, _ = product(pool, Shapes((1, 5, 5), (1, 2, 2)), conv, Shapes((1, 2, 2), (1, 2, 2)))
    assert isinstance(operation, Affine)
    assert operation.weight.reshape(4, 5, 5)[:, 4].any() == np.False_


@pytest.mark.parametrize(("size", "fits"), [(2**11, True), (2**11 + 1, False)])
def test_matrices_have_a_size(size, fits):
    scale = Scale(np.ones(size, np.float32))
    narrow = Affine(np.ones((size, size), np.float32), np.zeros(size, np.float32))
    found = product(scale, Shapes((size,), (size,)), narrow, Shapes((size,), (size,)))
    assert (found is not None) == fits == (size**2 <= MAX_MATRIX)
