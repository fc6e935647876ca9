"""A training run as data: written into the checkpoint, and enough to repeat it."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from neuromorphic.errors import meant
from spikeclip.errors import RefusedInput

Stage = Literal["classify", "align", "dual"]

STAGES: tuple[Stage, ...] = ("classify", "align", "dual")
"""Aims of training: labels; a teacher's image features; labels and a teacher's label logits (`losses`)."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    Attributes:
        schedule: pairs (time steps, epochs), in order.  Epochs at T = 1 cost a quarter of those at T = 4 and teach
            the weights most of what they will know; the last pair must train at the encoder's own T.
        stage: one of `STAGES`.
        batch_size: images per step, of all processes together.
        learning_rate: AdamW's, at its peak.
        final_learning_rate: what the half cosine ends at.
        optimizer: of convolutions and of linear layers but the head: `adamw` or `muon` (`muon.Muon`). AdamW takes the
            rest.
        muon_learning_rate: Muon's, at its peak; it follows the same curve as AdamW's.
        amsgrad: divide by the largest second moment so far (Reddi et al., 2018).  Without weight decay, AdamW is Adam.
        weight_decay: on weights of convolutions and linear layers only.
        warmup: fraction of all steps in which the learning rate rises from 0.
        label_smoothing: of the cross-entropy.
        temperature: factor on the student's cosines, at first.
        learn_temperature: whether that factor is trained too; it has no gradient in `align`.
        centred: in `classify`, whether cosines are with the label directions (`LabelSet.directions`) or with the unit
            label vectors; the other stages take what the teacher takes: unit vectors with CLIP.
        teacher_temperature: factor on the teacher's cosines in `dual`; None for the teacher's own.
        kl_weight: of the mean Kullback-Leibler divergence in `dual`; the cross-entropy weighs 1.
        kl_temperature: both models' logits are divided by it in the divergence.
        spike_budget: spikes per synapse and image that training holds the encoder to (`spike_budget`); None for no
            limit.
        spike_weight: of the penalty that holds it there; the larger, the sooner it does.
        flips: `random` mirrors each image with probability 1/2; `alternating` each in every other epoch.
        cutout: side in pixels of a square that each image loses, in the mean colour; 0 for none.
        ema: decay per step of the averaged weights that are evaluated and saved; 0 to save the weights themselves.
        calibration_images: training images that the statistics of batch normalisation are measured on for the saved
            weights.
        precision: `bf16` computes convolutions in bfloat16 (autocast), the teacher's too; `float32` doesn't.
        seed: of initialisation, order and augmentation.
    """

    schedule: tuple[tuple[int, int], ...] = ((1, 20), (4, 10))
    stage: Stage = "classify"
    batch_size: int = 128
    learning_rate: float = 2e-3
    final_learning_rate: float = 0.0
    optimizer: Literal["adamw", "muon"] = "adamw"
    muon_learning_rate: float = 0.02
    amsgrad: bool = False
    weight_decay: float = 0.05
    warmup: float = 0.05
    label_smoothing: float = 0.1
    temperature: float = 10.0
    learn_temperature: bool = True
    centred: bool = True
    teacher_temperature: float | None = None
    kl_weight: float = 1.0
    kl_temperature: float = 1.0
    spike_budget: float | None = None
    spike_weight: float = 1.0
    flips: Literal["random", "alternating"] = "random"
    cutout: int = 0
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
        if self.stage not in STAGES:
            raise RefusedInput(f"stage is {self.stage!r}; expected one of {', '.join(STAGES)}")
        if not 0 <= self.final_learning_rate <= self.learning_rate:
            raise RefusedInput(
                f"final learning rate {self.final_learning_rate}; expected 0 or more, at most {self.learning_rate}"
            )
        if self.optimizer not in ("adamw", "muon") or not 0 < self.muon_learning_rate < math.inf:
            raise RefusedInput(
                f"optimizer {self.optimizer!r}, Muon's learning rate {self.muon_learning_rate}; "
                "expected 'adamw' or 'muon', and a positive number"
            )
        if self.flips not in ("random", "alternating"):
            raise RefusedInput(f"flips are {self.flips!r}; expected 'random' or 'alternating'")
        if self.precision not in ("float32", "bf16"):
            raise RefusedInput(f"precision is {self.precision!r}; expected 'float32' or 'bf16'")
        if self.cutout < 0:
            raise RefusedInput(f"cutout is {self.cutout}; expected a side in pixels, or 0")
        temperatures = (self.temperature, self.teacher_temperature, self.kl_temperature)
        if any(t is not None and not 0 < t < math.inf for t in temperatures) or not 0 <= self.kl_weight < math.inf:
            raise RefusedInput(
                f"temperatures {self.temperature}, {self.teacher_temperature}, {self.kl_temperature}, KL weight "
                f"{self.kl_weight}; expected positive ones, and 0 or more"
            )
        if self.spike_budget is not None and not 0 < self.spike_budget < math.inf:
            raise RefusedInput(f"spike budget {self.spike_budget}; expected a positive number of spikes")
        if not 0 <= self.spike_weight < math.inf:
            raise RefusedInput(f"spike weight {self.spike_weight}; expected 0 or more")
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
        """Linear warm-up, then a half cosine to `final_learning_rate`; `progress` in [0, 1]."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        left = 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * left

    def changed(self, **given: Any) -> Self:
        """The recipe with the settings that are not None in place of its own."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        """The settings as a JSON-compatible dictionary."""
        return {**asdict(self), "schedule": [list(pair) for pair in self.schedule]}


_PUBLISHED = Recipe(
    batch_size=196,
    weight_decay=0.0,
    warmup=0.0,
    label_smoothing=0.0,
    temperature=1.0,
    learn_temperature=False,
    teacher_temperature=1.0,
    ema=0.0,
    amsgrad=True,
)

RECIPES: dict[str, Recipe] = {
    "short-classify": Recipe(),
    "short-align": Recipe(schedule=((1, 20), (4, 10)), stage="align"),
    "short-dual": Recipe(schedule=((4, 10),), stage="dual", learning_rate=5e-4),
    "published-align": replace(
        _PUBLISHED, schedule=((4, 50),), stage="align", learning_rate=5e-3, final_learning_rate=5e-4
    ),
    # The published divergence is a sum over the batch: the mean, weighed with the batch size.
    "published-dual": replace(
        _PUBLISHED,
        schedule=((4, 200),),
        stage="dual",
        learning_rate=5e-4,
        final_learning_rate=1e-5,
        kl_weight=196.0,
    ),
}
"""Recipes by name: short ones for small encoders, and those of the paper (arXiv 2310.06488; docs/training.md)."""


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        RefusedInput: there is none.
    """
    if name not in RECIPES:
        raise RefusedInput(f"recipe {name!r} is unknown; expected one of {', '.join(RECIPES)}{meant(name, RECIPES)}")
    return RECIPES[name]


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
