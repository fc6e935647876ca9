"""The edges of what a graph may have: the last that is taken and the first that isn't."""

import nir
import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.reading.limits import check_names, check_shape
from neuromorphic.reading.parameters import check_parameters


def conv(**changed):
    """A convolution some of whose parameters are what a file may hold, which nir's own class would not take."""
    node = nir.Conv2d((4, 4), np.ones((2, 1, 3, 3), np.float32), 1, 0, 1, 1, np.zeros(2, np.float32))
    vars(node).update(changed)
    return node


@pytest.mark.parametrize("name", ["n" * 128, "x", "a.b", "é"])
def test_names_that_are_taken(name):
    check_names([name], [], "m.nir")


@pytest.mark.parametrize("name", ["n" * 129, "", ".", "a/b", "a\nb"])
def test_names_that_are_refused(name):
    with pytest.raises(RefusedInput, match=r"m\.nir: a node is named .*; expected 1 to 128 printable characters"):
        check_names([name], [], "m.nir")


def test_as_many_nodes_and_edges_as_a_graph_may_have():
    nodes = [str(i) for i in range(4097)]
    check_names(nodes[:4096], [("0", "1")] * 16384, "m.nir")
    with pytest.raises(RefusedInput, match="4097 nodes; expected at most 4096"):
        check_names(nodes, [], "m.nir")
    with pytest.raises(RefusedInput, match="16385 edges; expected at most 16384"):
        check_names(nodes[:2], [("0", "1")] * 16385, "m.nir")


def test_shapes_at_their_edges():
    for shape in ((1,), (1,) * 8, (2**27,)):
        check_shape(shape, "node")
    for shape in ((), (1,) * 9, (0,), (2, -1), (2**27 + 1,), (2**14, 2**14)):
        with pytest.raises(RefusedInput, match="expected positive sizes"):
            check_shape(shape, "node")


@pytest.mark.parametrize(("key", "value"), [("padding", "same"), ("padding", (1, 0)), ("stride", 2), ("groups", 1)])
def test_parameters_that_are_numbers_or_words_where_words_may_stand(key, value):
    check_parameters(conv(**{key: value}), "node 'c'")


@pytest.mark.parametrize(("key", "value"), [("stride", "same"), ("padding", 1j), ("padding", {}), ("groups", 1.0)])
def test_parameters_that_are_no_numbers_are_refused(key, value):
    with pytest.raises(RefusedInput, match=f"node 'c': {key} is .*; expected"):
        check_parameters(conv(**{key: value}), "node 'c'")
