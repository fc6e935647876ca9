"""Fine-tuning: what a training run starts from, and whether it trains for 8-bit weights."""

import hashlib
from dataclasses import dataclass
from typing import Any

from spikeclip.checkpoint import Checkpoint
from spikeclip.config import SpikeClipConfig
from spikeclip.errors import RefusedInput
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe


@dataclass(frozen=True)
class FineTuning:
    """What a run starts from, instead of random weights.

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
            RefusedInput: another configuration or preprocessing, or bfloat16 with 8-bit weights.
        """
        if (self.checkpoint.config, self.checkpoint.preprocessing) != (config, preprocessing):
            raise RefusedInput(
                f"{self.checkpoint.path}: its configuration or preprocessing is not the run's; expected the same"
            )
        if self.quantized and recipe.precision != "float32":
            raise RefusedInput(f"precision {recipe.precision} rounds weights of 8 bits once more; expected float32")

    def to_dict(self) -> dict[str, Any]:
        """What a card says of it, and what a run must have in common with the one that it resumes."""
        state = self.checkpoint.model.encoder.state_dict()
        digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in state.values())).hexdigest()
        path = self.checkpoint.path
        return {"checkpoint": path.name if path else None, "encoder_sha256": digest, "quantized": self.quantized}
