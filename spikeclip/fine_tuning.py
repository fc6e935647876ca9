"""Fine-tuning: what a training run starts from, and whether it trains for 8-bit weights."""

import copy
from dataclasses import dataclass
from typing import Any

import torch

from spikeclip.checkpoint import Checkpoint, weights_sha256
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder
from spikeclip.errors import RefusedInput
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe

MAY_DIFFER = ("stem_pools", "stem_channels", "time_steps")
"""Sizes that a run may have other than the checkpoint that it starts from."""


@dataclass(frozen=True)
class FineTuning:
    """The start of a run from a checkpoint, instead of random weights.

    Attributes:
        checkpoint: whose encoder is trained further, a copy of it.
        quantized: whether forward passes round the weights to 8 bits (`quantized`).  Statistics of batch normalisation
            then stay as they are, and the checkpoint that is written holds the rounded weights.
    """

    checkpoint: Checkpoint
    quantized: bool = False

    def check(self, config: SpikeClipConfig, preprocessing: Preprocessing, recipe: Recipe) -> None:
        """Refuse a run that doesn't fit the checkpoint, or that rounds its weights twice.

        Raises:
            RefusedInput: another preprocessing, sizes that a stem can't be grown to, or bfloat16 with 8-bit weights.
        """
        path, own = self.checkpoint.path, self.checkpoint.config
        names = SpikeClipConfig.__dataclass_fields__
        other = [name for name in names if getattr(own, name) != getattr(config, name)]
        wrong = [name for name in other if self.quantized or config.architecture == "paper" or name not in MAY_DIFFER]
        if wrong or self.checkpoint.preprocessing != preprocessing:
            raise RefusedInput(f"{path}: its {', '.join(wrong) or 'preprocessing'} is not the run's; expected the same")
        if any(old > new for old, new in zip(own.stem_widths, config.stem_widths, strict=True)):
            raise RefusedInput(
                f"{path}: its stem has {own.stem_widths} channels; expected at most the run's {config.stem_widths}"
            )
        if self.quantized and recipe.precision != "float32":
            raise RefusedInput(f"precision {recipe.precision} rounds weights of 8 bits once more; expected float32")

    def encoder(self, config: SpikeClipConfig) -> Encoder:
        """A copy of the checkpoint's encoder to train, grown to `config` where its stem is wider (`grown`)."""
        encoder = self.checkpoint.model.encoder
        if config == self.checkpoint.config:
            return copy.deepcopy(encoder).requires_grad_()
        return grown(encoder, config)

    def to_dict(self) -> dict[str, Any]:
        """The start as cards and resumed runs identify it, JSON-compatible."""
        digest = weights_sha256(self.checkpoint.model.encoder)
        path = self.checkpoint.path
        return {"checkpoint": path.name if path else None, "encoder_sha256": digest, "quantized": self.quantized}


def grown(encoder: Encoder, config: SpikeClipConfig) -> Encoder:
    """An encoder of the sizes `config` that has the old one's tensors in front, and computes the same at first.

    Channels that are new have weights drawn at random; the old channels read them with weights of 0.  Where it pools
    elsewhere or has other time steps, the weights are the same and what they compute is not.
    """
    made = Encoder(config)
    old = encoder.state_dict()
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            front = tuple(slice(n) for n in old[name].shape)
            if tensor.ndim > 1:
                tensor[front[0]] = 0
            tensor[front] = old[name]
    return made
