"""What a training run does, as data: written into the checkpoint, and enough to repeat it."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    Attributes:
        schedule: pairs (time steps, epochs), in order.  Epochs at T = 1 cost a quarter of those at T = 4 and teach
            the weights most of what they will know; the last pair must train at the encoder's own T.
        batch_size: images per step.
        learning_rate: AdamW's, at its peak.
        weight_decay: on weights of convolutions and linear layers only.
        warmup: fraction of all steps in which the learning rate rises from 0.
        label_smoothing: of the cross-entropy.
        temperature: initial factor on the cosines; learned.
        ema: decay per step of the averaged weights that are evaluated and saved; 0 to save the weights themselves.
        calibration_images: training images that the statistics of batch normalisation are measured on for the saved
            weights.
        precision: `bf16` computes convolutions in bfloat16 (autocast), `float32` doesn't.
        seed: of initialisation, order and augmentation.
    """

    schedule: tuple[tuple[int, int], ...] = ((1, 20), (4, 10))
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    label_smoothing: float = 0.1
    temperature: float = 10.0
    ema: float = 0.998
    calibration_images: int = 4096
    precision: Literal["float32", "bf16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.schedule or any(t < 1 or n < 1 for t, n in self.schedule):
            raise RefusedInput(f"schedule is {self.schedule}; expected pairs of positive time steps and epochs")
        if self.batch_size < 1 or not self.learning_rate > 0 or not 0 <= self.ema < 1:
            raise RefusedInput(
                f"batch size {self.batch_size}, learning rate {self.learning_rate}, EMA {self.ema}; "
                "expected positive, positive and in [0, 1)"
            )
        if not 0 <= self.warmup < 1 or not 0 <= self.label_smoothing < 1 or not self.weight_decay >= 0:
            raise RefusedInput(
                f"warm-up {self.warmup}, label smoothing {self.label_smoothing}, weight decay {self.weight_decay}; "
                "expected in [0, 1), in [0, 1) and not negative"
            )
        if self.calibration_images < 1:
            raise RefusedInput(f"calibration_images is {self.calibration_images}; expected a positive number")
        if not 0 <= self.seed < 2**63:
            raise RefusedInput(f"seed is {self.seed}; expected 0 or more, below 2^63")

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        return sum(n for _, n in self.schedule)

    def time_steps(self, epoch: int) -> int:
        """Time steps per image in the given epoch, counted from 0."""
        for steps, epochs in self.schedule:
            if epoch < epochs:
                return steps
            epoch -= epochs
        return self.schedule[-1][0]

    def stage_start(self, epoch: int) -> int:
        """The first epoch of those in a row that have as many time steps as the given one, counted from 0."""
        steps = self.time_steps(epoch)
        while epoch > 0 and self.time_steps(epoch - 1) == steps:
            epoch -= 1
        return epoch

    def learning_rate_at(self, progress: float) -> float:
        """Linear warm-up, then a half cosine to zero; `progress` in [0, 1]."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))

    def to_dict(self) -> dict[str, Any]:
        """The settings as a JSON-compatible dictionary."""
        return {**asdict(self), "schedule": [list(pair) for pair in self.schedule]}


def parse_schedule(text: str) -> tuple[tuple[int, int], ...]:
    """`"1x20,4x10"` as ((1, 20), (4, 10)): 20 epochs at one time step, then 10 at four.

    Raises:
        RefusedInput: the text has another form.
    """
    try:
        pairs = [part.split("x") for part in text.split(",")]
        return tuple((int(steps), int(epochs)) for steps, epochs in pairs)
    except ValueError as error:
        raise RefusedInput(
            f"schedule {text!r} is not understood; expected STEPSxEPOCHS,..., as in 1x20,4x10"
        ) from error
