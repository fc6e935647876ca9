"""Distributions, break-even rates, sensitivities and verdicts, each by hand or by doing what it promises."""

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy.distribution import Distribution, distribution
from energy.document import Accuracy, Sensitivity
from energy.prices import read_device
from energy.statistics import break_even, sensitivity
from energy.verdict import decide, sentence

FP32, INT8 = read_device("45nm-fp32"), read_device("45nm-int8")


def test_a_distribution_by_hand():
    found = distribution(np.array([2, 4, 4, 6]))
    # Deviations -2, 0, 0, 2: variance 8 / 3; Student's t of 3 degrees of freedom is 3.1824 at 97.5 %.
    half = 3.182446 * (8 / 3) ** 0.5 / 2
    assert (found.images, found.mean, found.minimum, found.maximum) == (4, 4.0, 2.0, 6.0)
    assert found.standard_deviation == pytest.approx((8 / 3) ** 0.5)
    assert found.interval == pytest.approx((4 / exp(half / 4), 4 * exp(half / 4)), rel=1e-6)
    assert found.percentiles == pytest.approx((2.15, 4.0, 5.85))


def test_one_image_has_no_spread():
    found = distribution(np.array([7]))
    assert (found.mean, found.standard_deviation, found.interval) == (7.0, None, None)


@pytest.mark.parametrize(("images", "shape"), [(5, 16.0), (5, 2.0), (20, 2.0)])
def test_the_interval_holds_the_mean_about_as_often_as_it_says(images, shape):
    # Gamma distributions with the mean 3, whose standard deviation is 3 / √shape: a quarter of the mean, and 71 %.
    rng = np.random.default_rng(0)
    held = 0
    for sample in rng.gamma(shape, 3.0 / shape, (2000, images)):
        low, high = distribution(sample).interval
        held += low <= 3.0 <= high
    assert 0.92 < held / 2000 < 0.97


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=9))
def test_an_interval_is_never_negative_and_holds_the_mean(values):
    found = distribution(np.array(values))
    low, high = found.interval
    assert 0 <= low <= found.mean <= high < float("inf")
    assert (low > 0) == (found.mean > 0)


@pytest.mark.parametrize(
    ("fixed", "proportional", "rate", "target", "expected"),
    [
        (10.0, 5.0, 0.1, 20.0, 0.2),  # twice as many spikes cost twice as much
        (0.0, 5.0, 0.5, 20.0, 2.0),  # no rate loses
        (20.0, 5.0, 0.1, 20.0, None),  # without a spike it is as expensive already
        (30.0, 5.0, 0.1, 20.0, None),
        (10.0, 0.0, 0.0, 20.0, None),  # nothing spikes
        (10.0, 5.0, None, 20.0, None),  # nothing could
    ],
)
def test_break_even_by_hand(fixed, proportional, rate, target, expected):
    assert break_even(fixed, proportional, rate, target) == pytest.approx(expected)


amounts = st.dictionaries(st.sampled_from(["add", "multiply", "dram"]), st.floats(0.01, 100), min_size=1)


@given(amounts, amounts, st.booleans())
def test_with_a_price_times_its_factor_both_sides_cost_the_same(snn, ann, same):
    theirs = FP32 if same else INT8
    found = sensitivity(snn, FP32, ann, theirs)
    assert len({(one.device, one.price) for one in found}) == len(found)
    assert {(one.device, one.price) for one in found} == {(FP32.name, p) for p in snn} | {(theirs.name, p) for p in ann}
    for one in found:
        if one.factor is None:
            continue
        ours = sum(pj * (one.factor if (one.device, one.price) == (FP32.name, p) else 1) for p, pj in snn.items())
        other = sum(pj * (one.factor if (one.device, one.price) == (theirs.name, p) else 1) for p, pj in ann.items())
        assert ours == pytest.approx(other, rel=1e-6)
        assert one.factor > 0
        assert one.flips == (one.plausible[0] <= one.factor <= one.plausible[1])


def test_sensitivity_by_hand():
    # 10 of additions against 10 + 20: additions cancel; multiplications would have to be free.
    add, multiply = sensitivity({"add": 10.0}, FP32, {"add": 10.0, "multiply": 20.0}, FP32)
    assert (add.price, add.factor, add.flips) == ("add", None, False)
    assert (multiply.price, multiply.factor, multiply.flips) == ("multiply", None, False)
    # 10 against 15 on another device: times 1.5 here, or over 1.5 there.
    ours, theirs = sensitivity({"add": 10.0}, FP32, {"add": 15.0}, INT8)
    assert (ours.factor, ours.flips, theirs.device) == (1.5, True, "45nm-int8")
    assert (theirs.factor, theirs.flips) == (pytest.approx(2 / 3), True)


def ratio(low, high, images=9):
    return Distribution(
        images=images,
        mean=(low + high) / 2,
        standard_deviation=0.1,
        interval=(low, high) if images > 1 else None,
        minimum=low,
        maximum=high,
        percentiles=(low, low, high),
    )


STEADY = Sensitivity(device="d", price="add", factor=7.0, plausible=(0.5, 2.0), flips=False)
SHAKY = Sensitivity(device="d", price="dram", factor=1.25, plausible=(0.5, 2.0), flips=True)


@pytest.mark.parametrize(
    ("found", "prices", "verdict", "reasons"),
    [
        (ratio(0.7, 0.9), [STEADY], "cheaper", []),
        (ratio(1.1, 1.2), [STEADY], "not cheaper", []),
        (ratio(0.9, 1.1), [STEADY], "undecided", ["the interval of the mean holds 1"]),
        (ratio(1.0, 1.0), [], "undecided", ["the interval of the mean holds 1"]),
        (ratio(0.1, 0.2, images=1), [STEADY], "undecided", ["one image gives no interval"]),
        (
            ratio(0.7, 0.9),
            [STEADY, SHAKY],
            "undecided",
            ["1.25 times the price dram of d makes both equal, and 0.5 to 2 times are plausible"],
        ),
    ],
)
def test_verdicts(found, prices, verdict, reasons):
    assert decide(found, prices) == (verdict, reasons)


def test_sentences():
    text = sentence("cheaper", [], "papers", (FP32, FP32), ratio(0.2, 0.3), 0.1, 0.4)
    assert text == (
        "45 nm CMOS, 32-bit floating point, counted as in most publications: cheaper. The encoder takes 0.25 times the "
        "energy of its ANN twin (95 % interval 0.2 to 0.3, 9 images); break-even at a rate of 0.4, this run has 0.1."
    )
    hard = sentence("undecided", ["a", "b"], "no_reuse", (FP32, INT8), ratio(1.5, 2.5), 0.1, None)
    assert "its ANN twin in int8" in hard
    assert hard.endswith("; no rate is low enough to break even. Undecided because a; b.")
    alone = sentence("undecided", ["one image gives no interval"], "papers", (FP32, FP32), ratio(0.2, 0.3, 1), 0.1, 0.4)
    assert "0.25 times the energy of its ANN twin (one image: no interval)" in alone
    beside = sentence(
        "cheaper", [], "papers", (FP32, FP32), ratio(0.2, 0.3), 0.1, 0.4, accuracy=Accuracy(snn=0.5, ann=0.75)
    )
    assert beside.endswith(" Accuracy 50.00%, of its ANN twin 75.00%.")
    unknown = sentence(
        "cheaper", [], "papers", (FP32, FP32), ratio(0.2, 0.3), 0.1, 0.4, accuracy=Accuracy(snn=0.5, ann=None)
    )
    assert unknown.endswith(" Accuracy 50.00%, of its ANN twin unknown.")
    always = sentence("cheaper", [], "operations", (FP32, FP32), ratio(0.2, 0.3), 0.1, 1.3)
    assert "no rate is above 1" in always
