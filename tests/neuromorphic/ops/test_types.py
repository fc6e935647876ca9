"""Which decays take a multiplication: one that keeps all, nothing or a power of two of v takes a shift at most."""

import numpy as np
import pytest

from neuromorphic.ops.types import multiplies


@pytest.mark.parametrize(("kept", "expected"), [(1.0, 0), (0.0, 0), (0.5, 0), (0.125, 0), (0.3, 1), (0.75, 1)])
def test_what_is_kept_is_multiplied_unless_it_is_nothing_or_a_power_of_two(kept, expected):
    assert multiplies(1 - kept) == expected
    assert multiplies(np.array([0.5, 1 - kept])) == expected
