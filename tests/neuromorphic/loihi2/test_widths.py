"""The least and the greatest number of each parameter of the chip, which are taken, and the next, which are not."""

from dataclasses import replace

import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.loihi2.certificate import check
from neuromorphic.reading.read import read_graph
from tests.neuromorphic.reading.netx.files import dense, write


@pytest.fixture
def checked(tmp_path):
    """`checked(key=number)`: the check of two neurons of which the second has that number."""
    graph = read_graph(write(tmp_path / "n.net", dense([[4, 2], [2, 4]], bias=np.ones(2))))
    lif = graph.nodes["layer.0"].operation

    def check_with(**numbers):
        arrays = {key: np.array([numbers.get(key, 64), value], np.int32) for key, value in numbers.items()}
        whole = {key: int(value[1]) if key == "bias_exponent" else value for key, value in arrays.items()}
        check(graph.with_operations({"layer.0": replace(lif, **whole)}))

    return check_with


EDGES = [
    ("threshold", 0, 2**17 - 1),
    ("bias_mantissa", -(2**12), 2**12 - 1),
    ("bias_exponent", 0, 7),
    ("decay", 0, 4096),
    ("current_decay", 1, 4096),
]


@pytest.mark.parametrize(("key", "least", "most"), EDGES)
def test_numbers_at_the_edges_of_their_widths(checked, key, least, most):
    checked(**{key: least})
    checked(**{key: most})
    for beyond, words in ((least - 1, f"{least - 1} is below {least}"), (most + 1, f"{most + 1} exceeds {most}")):
        with pytest.raises(RefusedInput, match=rf"layer\.0: .* {words} "):
            checked(**{key: beyond})


def test_a_membrane_that_forgets_all_of_it_has_no_current_that_lasts(checked):
    checked(decay=4095, current_decay=4095)
    checked(decay=4096, current_decay=4096)
    with pytest.raises(RefusedInput, match="decay 4096 exceeds 4095"):
        checked(decay=4096, current_decay=4095)
