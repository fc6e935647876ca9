"""Break-even rates of a comparison, and the prices that would flip its verdict."""

from energy.document import Sensitivity
from energy.prices import Device


def break_even(fixed: float, proportional: float, rate: float | None, target: float) -> float | None:
    """The r that solves `fixed + proportional · r / rate = target`; None without spikes or if `fixed` alone is more.

    Rates of all populations are taken to change by one factor; r may be more than 1.
    """
    if not rate or not proportional or fixed >= target:
        return None
    return rate * (target - fixed) / proportional


def sensitivity(
    snn: dict[str, float], snn_device: Device, ann: dict[str, float], ann_device: Device
) -> list[Sensitivity]:
    """The sensitivity of a comparison to each price by itself.

    With a price multiplied by f both sides cost the same where `f · (s - a) = (A - a) - (S - s)`: S and A are the
    energies of encoder and twin, s and a what that price contributes.  A price of one device counts on both sides.

    Args:
        snn: picojoules by price, of the encoder.
        snn_device: that they are prices of.
        ann: picojoules by price, of the twin.
        ann_device: likewise.
    """
    found = []
    keys = [(snn_device, price) for price in snn]
    keys += [(ann_device, price) for price in ann if ann_device is not snn_device or price not in snn]
    for device, price in keys:
        ours = snn.get(price, 0.0) if device is snn_device else 0.0
        theirs = ann.get(price, 0.0) if device is ann_device else 0.0
        slope = ours - theirs
        rest = (sum(ann.values()) - theirs) - (sum(snn.values()) - ours)
        factor = rest / slope if slope and rest / slope > 0 else None
        low, high = device.figure(price).factors
        flips = factor is not None and low <= factor <= high
        found.append(Sensitivity(device=device.name, price=price, factor=factor, plausible=(low, high), flips=flips))
    return found
