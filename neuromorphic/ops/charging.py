"""The numbers that membranes are computed with, and the bits that exact arithmetic with them takes.

Let a LIF neuron read a current x, |x| <= B, a multiple of 2^-k (both after its gain).  It computes `v += d (x - v)`
with d = 2^-a, T times from rest:

- Where x and v lie in [-B, B], so does v + d (x - v), a mean of both; a reset to 0 stays there too.
- If v is a multiple of 2^-(k + a (t-1)) before step t, then v + d (x - v) is one of 2^-(k + a t).  So membranes need
  `log2(B 2^(k + a T))` bits.
- x - v lies in [-2B, 2B] on 2^-(k + a (T-1)), which takes `k + a (T-1) + 1` for the exponent: no more, unless a = 0.
- d x, d v and the difference of the two lie in [-B, B] on 2^-(k + a T): covered.  The same holds of v - d v.

Hence neurons are exact where `log2(B 2^(k + max(a T, a (T-1) + 1)))` is at most the number of bits of a significand.  A
decay d = p / 2^a needs the same, and one bit more where d > 1/2, since d (x - v) reaches 2 d B.  A leak toward l and a
reset to r count as currents: B and 2^-k have to cover them.  They also have to cover a threshold >= 0 that spikes take
off v, which leaves v >= 0.  The comparison with the threshold needs no further bits: the sign of a float32 difference
is right even where the difference is rounded.

Integrate-and-fire, `v += x`, grows: it needs `log2(T B 2^k)` bits.  A synaptic current `i += d' (w x - i)` before the
membrane adds its own a' T to a T.

Where x is the same at every step, as behind the first convolutions of an image, fewer bits suffice.  With x <= 0, no
v is ever above 0, rounded or not, since every operation is monotone: there is no spike.  With x > 0, `v_1 = d x` is
exact.
Either v_1 fires and v = 0 again; or x < h / d for the threshold h, and then x, all v and all differences lie in
[0, h / d], on 2^-(k + a T).  So `log2(B 2^k)` and `log2(h 2^(k + a + max(a T, 1)))` bits suffice.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from neuromorphic.ops.dyadic import fraction_bits, magnitude_bits
from neuromorphic.ops.types import Array, Sums, single_number

COARSE_DECAY = 10
"""Bits of a decay: one that is no multiple of 2^-10 is taken for one on no useful grid."""

ZERO = np.zeros((), np.float32)
"""One 0 for all neurons."""


class Charging(NamedTuple):
    """The numbers of `v += decay (leak + gain x - v)` and of neurons like it.

    Attributes:
        gain: the factor of x in all, but for decays.
        decays: the shares that i and v lose per step, in this order; empty for integrators.
        leak: the value that v decays to without input.
        reset: v after a spike, and at the start of an image.
        lowering: the amount that a spike takes off v instead.
        threshold: of populations; None for neurons that send their membranes.
        back: the amount that a spike takes off the x of the next step.
    """

    gain: Array
    decays: tuple[Array, ...] = ()
    leak: Array = ZERO
    reset: Array = ZERO
    lowering: Array = ZERO
    threshold: Array | None = None
    back: Array = ZERO

    @property
    def _current_grid(self) -> Callable[[int], int]:
        """A function from b, where x lies on the grid 2^-b, to the k of the grid 2^-k of all that is added to v."""
        gain, back = fraction_bits(self.gain), fraction_bits(self.back)
        others = max(fraction_bits(values) for values in (self.leak, self.reset, self.lowering))
        return lambda bits: max(max(bits, back) + gain, others)

    @property
    def _rate_bits(self) -> int:
        """The bits by which the grid of v gets finer in each step."""
        return sum(_decay_bits(rate) for rate in self.decays)

    def membrane_grid(self, bits: int, steps: int) -> int:
        """The k of the grid 2^-k of v after so many steps, where x lies on the grid 2^-bits."""
        return self._current_grid(bits) + steps * self._rate_bits

    @property
    def obstacle(self) -> str:
        """Why nothing can be proven for these numbers; empty if something can."""
        odd = [float(rate.min()) for rate in self.decays if fraction_bits(rate) > COARSE_DECAY]
        if odd:
            return f"tau is {1 / min(odd):g} time steps, whose inverse is no multiple of 2^-{COARSE_DECAY}"
        return "spikes take a negative threshold off v, which then grows" if self.lowering.min() < 0 else ""

    def bits_needed(self, x: Sums, steps: int) -> Callable[[int], int]:
        """A function from b, where x lies on the grid 2^-b, to the bits that exact arithmetic takes, without a sign.

        A decay on no useful grid counts as the power of two below it; nothing is proven for it (`obstacle`).
        """
        gain, back, *others = (
            np.abs(single_number(np.asarray(values)), dtype=np.float64)
            for values in (self.gain, self.back, self.leak, self.reset, self.lowering)
        )
        if gain.ndim:
            bound = float(max((gain * x.reach.high).max(), (gain * -x.reach.low).max()))
        else:
            bound = float(gain * x.bound)
        bound += float((gain * back).max())
        leak, reset, lowering = (float(values.max()) for values in others)
        grid, a = self._current_grid, self._rate_bits
        if not self.decays:
            grown = steps * bound + max(reset, lowering)
            return lambda bits: magnitude_bits(grown, grid(bits))
        half = int(any(0.5 < rate.max() < 1 for rate in self.decays))
        to_zero = len(self.decays) == 1 and not max(leak, reset, lowering) and not back.any()
        if self.threshold is None or not (to_zero and x.constant) or half:
            reached, finer = max(bound + leak, reset, lowering), max(a * steps + half, a * (steps - 1) + 1)
            return lambda bits: magnitude_bits(reached, grid(bits) + finer)
        threshold, finer = float(self.threshold.max()), a + max(a * steps, 1)
        return lambda bits: max(magnitude_bits(bound, grid(bits)), magnitude_bits(threshold, grid(bits) + finer))


def _decay_bits(decay: Array) -> int:
    """The a of a decay p / 2^a; where that is too large to be of use, that of the power of two below the decay."""
    bits = max(0, fraction_bits(decay))
    return bits if bits <= COARSE_DECAY else int(np.ceil(-np.log2(decay.min())))
