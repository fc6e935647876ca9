"""Which positions of a map an output position sees, and through which weights, against windows walked one by one."""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from neuromorphic.execution.fronts import is_plain, spans
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.chip import integrate_and_fire
from tests.neuromorphic.graphs import chain, conv, lif

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(size=st.tuples(st.integers(1, 6), st.integers(1, 6)), kernel=pairs, stride=pairs, dilation=pairs, data=st.data())
def test_spans_are_the_places_of_a_window_on_the_map(size, kernel, stride, dilation, data):
    padding = data.draw(st.tuples(*(st.integers(0, (k - 1) * d) for k, d in zip(kernel, dilation, strict=True))))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    out = [(s + 2 * p - r) // t + 1 for s, p, r, t in zip(size, padding, reach, stride, strict=True)]
    assume(min(out) > 0)
    node = conv(np.ones((2, 3, *kernel)), hw=size)
    node.stride, node.padding, node.dilation = stride, padding, dilation
    graph = from_nir(chain({"c": node}, (3, *size), (2, *out)))
    made = graph.nodes["c"]
    first, offset, begin, end = spans(made.operation.windows, made, 5)
    for q, (i, j) in enumerate(np.ndindex(*out)):
        seen = [
            (place * 5, place * 5 + int(offset[s]))
            for s in range(first[q], first[q + 1])
            for place in range(begin[s], end[s])
        ]
        expected = []
        for a, b in np.ndindex(*kernel):
            y, x = i * stride[0] + a * dilation[0] - padding[0], j * stride[1] + b * dilation[1] - padding[1]
            if 0 <= y < size[0] and 0 <= x < size[1]:
                expected.append(((y * size[1] + x) * 5, (a * kernel[1] + b) * 5))
        assert seen == expected


def test_neurons_that_rest_and_reset_at_0_are_plain():
    plain, held = (
        from_nir(chain({"n": neurons}, (2,), (2,))).nodes["n"].operation
        for neurons in (lif((2,)), integrate_and_fire((2,)))
    )
    assert is_plain(plain)
    assert not is_plain(held)
    one = np.float32([0, 0.5])
    assert not any(is_plain(replace(plain, **more)) for more in ({"leak": one}, {"reset": -one}, {"subtracts": True}))
