"""Quantiles of Student's t distribution."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from energy.student import two_sided_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_quantiles_are_those_of_printed_tables(freedom, quantile):
    assert round(two_sided_quantile(0.95, freedom), 3) == quantile


@given(st.integers(1, 20_000), st.floats(0.01, 0.999))
def test_quantiles_are_scipys(freedom, confidence):
    assert two_sided_quantile(confidence, freedom) == pytest.approx(stdtrit(freedom, (1 + confidence) / 2), rel=1e-9)
