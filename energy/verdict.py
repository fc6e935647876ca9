"""Cheaper, not cheaper, or undecided: what a comparison comes to, in one sentence.

Cheaper: the 95 % interval of the mean ratio lies below 1; not cheaper: above.  Undecided where it holds 1, where one
image gives no interval, and where a single price, moved within its plausible range, makes both sides equal.
"""

from collections.abc import Mapping

from energy.counts import Baseline
from energy.distribution import Distribution
from energy.document import Accuracy, Scheme, Sensitivity, Verdict
from energy.prices import Device

BASES = {
    "papers": "counted as in most publications",
    "operations": "all operations, without memory",
    "ideal_reuse": "with memory and ideal reuse",
    "no_reuse": "with memory and no reuse",
}

OPPONENTS: Mapping[Baseline, str] = {"twin": "its ANN twin", "dense": "an ANN of its own layers, evaluated once"}


def decide(ratio: Distribution, sensitivities: list[Sensitivity]) -> tuple[Verdict, list[str]]:
    """The verdict, and the reasons why it is undecided."""
    reasons = []
    if ratio.interval is None:
        reasons.append("one image gives no interval")
    elif ratio.interval[0] <= 1 <= ratio.interval[1]:
        reasons.append("the interval of the mean holds 1")
    for price in sensitivities:
        if price.flips:
            low, high = price.plausible
            reasons.append(
                f"{price.factor:.2f} times the price {price.price} of {price.device} makes both equal, "
                f"and {low:.2g} to {high:.2g} times are plausible"
            )
    if reasons:
        return "undecided", reasons
    return ("cheaper" if ratio.mean < 1 else "not cheaper"), []


def sentence(
    verdict: Verdict,
    reasons: list[str],
    scheme: Scheme,
    devices: tuple[Device, Device],
    ratio: Distribution,
    rate: float | None,
    break_even_rate: float | None,
    opponent: str = OPPONENTS["twin"],
    accuracy: Accuracy | None = None,
) -> str:
    """The verdict for people; `devices` are those of the encoder and of its twin."""
    ours, theirs = devices
    against = opponent if ours.name == theirs.name else f"{opponent} in {theirs.precision}"
    text = f"{ours.title}, {BASES[scheme]}: {verdict}. The encoder takes {ratio.mean:.3g} times the energy of {against}"
    if ratio.interval is not None:
        text += f" (95 % interval {ratio.interval[0]:.3g} to {ratio.interval[1]:.3g}, {ratio.images} images)"
    else:
        text += " (one image: no interval)"
    if break_even_rate is not None and rate is not None:
        text += f"; break-even at a rate of {break_even_rate:.3g}, this run has {rate:.3g}"
        if break_even_rate > 1:
            text += ", and since no rate is above 1 the encoder can't lose under this account"
    elif rate is not None and ratio.mean > 1:
        text += "; no rate is low enough to break even"
    text += "."
    if accuracy is not None and accuracy.snn is not None:
        theirs_too = "unknown" if accuracy.ann is None else f"{accuracy.ann:.2%}"
        text += f" Accuracy {accuracy.snn:.2%}, of {opponent} {theirs_too}."
    return f"{text} Undecided because {'; '.join(reasons)}." if reasons else text
