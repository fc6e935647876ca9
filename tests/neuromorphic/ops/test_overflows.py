"""Overflows of two runs together."""

from neuromorphic.ops import Overflows


def test_overflows_add_up_each_of_its_kind():
    assert Overflows(1, 20) + Overflows(300, 4000) == Overflows(301, 4020)
