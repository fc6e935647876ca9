"""The ANN of the same information: activations of `ceil(log2(T + 1))` bits, for as many values as T steps can tell.

A rate code of T steps tells T + 1 values apart, so the fair opponent is not an ANN of 8 or 32 bits but one whose
activations have just those values (Yan, Bai, Wong, arXiv 2409.08290); weights are as wide as the encoder's.
"""

from energy.prices import Device, Figure


def bit_matched(device: Device, time_steps: int) -> Device | None:
    """`device` with activations of that many bits; None for a chip, for floats, and where they are no narrower.

    An array multiplier has a cell per pair of bits of its operands, so that a product of b bits by a weight takes
    `b / width` of the energy that it takes with two operands of full width; additions are as wide as before.

    Args:
        device: of integers.
        time_steps: T.
    """
    bits = time_steps.bit_length()  # ceil(log2(T + 1))
    if device.widths is None or not device.precision.startswith("int") or bits >= device.widths.activation:
        return None
    share = bits / device.widths.activation
    return device.model_copy(
        update={
            "name": f"{device.name}-{bits}bit",
            "title": f"{device.title}, activations of {bits} bits",
            "precision": f"{device.precision} with activations of {bits} bits",
            "widths": device.widths.model_copy(update={"activation": bits}),
            "operations": {**device.operations, "multiply": _scaled(device.operations["multiply"], share)},
        }
    )


def _scaled(figure: Figure, share: float) -> Figure:
    return figure.model_copy(
        update={
            "value": figure.value * share,
            "range": figure.range and (figure.range[0] * share, figure.range[1] * share),
            "grade": "estimated",
            "note": f"times {share:g}, the share of the bits of one operand (arXiv 2409.08290). {figure.note}".strip(),
        }
    )
