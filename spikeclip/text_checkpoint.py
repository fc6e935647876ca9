"""Checkpoints of the text encoder: weights as safetensors with their card, or the published code's PyTorch files.

CLIP's tables of tokens and positions are among the weights, since they are trained too; its tokenizer is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuromorphic.errors import named
from neuromorphic.files import write_json
from spikeclip.checkpoint import check_tensors, read_tensors, write_tensors
from spikeclip.errors import RefusedInput
from spikeclip.published import SUFFIXES, check_state, find_shape, read_state
from spikeclip.text_config import TextEncoderConfig
from spikeclip.text_encoder import SpikingTextEncoder

TEXT_FORMAT = "spikeclip-text"

METADATA = {"config": dict, "card": dict}
"""Entries of the metadata, and their types."""

PUBLISHED = "Language_Encoder"
"""The class of the published code (arXiv 2310.06488)."""


@dataclass(frozen=True)
class TextCheckpoint:
    """A trained text encoder.

    Attributes:
        model: in evaluation mode.
        card: how it was made, and what was measured; `clip` is the CLIP whose space its embeddings are of.
        path: where it was read from; None for one that was just made.
    """

    model: SpikingTextEncoder
    card: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def config(self) -> TextEncoderConfig:
        """The encoder's configuration."""
        return self.model.config


def save_text(checkpoint: TextCheckpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, whole or not at all, and its card as JSON beside it."""
    metadata = {
        "config": checkpoint.config.to_dict(),
        "card": checkpoint.card,
    }
    write_tensors(checkpoint.model, TEXT_FORMAT, metadata, path)
    write_json(path.with_suffix(".json"), checkpoint.card)


def load_text(path: Path) -> TextCheckpoint:
    """The text encoder of that path: one of `spikeclip-train-text`, or a published one (`.pth`, `.pt`, `.tar`).

    Raises:
        RefusedInput: there is none, it is of another kind, its tensors don't fit, or a weight is not finite.
    """
    if not path.is_file():
        raise RefusedInput(f"text encoder {path}: no such file; expected a checkpoint of spikeclip-train-text")
    if path.suffix in SUFFIXES:
        model, taken = load_published_text(path)
        card = {"published": "; ".join(filter(None, (PUBLISHED, taken)))}
    else:
        tensors, metadata = read_tensors(path, METADATA)
        if metadata.get("format") != TEXT_FORMAT:
            raise RefusedInput(
                f"{path}: is no text encoder ({metadata.get('format')}); expected one of spikeclip-train-text"
            )
        with named(path):
            config = TextEncoderConfig.from_dict(metadata["config"])
        model, card = _skeleton(config), metadata["card"]
        check_tensors(path, tensors, model.state_dict())
        model.load_state_dict(tensors, assign=True)
    return TextCheckpoint(model.eval().requires_grad_(False), card, path)


def load_published_text(path: Path) -> tuple[SpikingTextEncoder, str]:
    """The encoder of a published checkpoint, whose every size follows from its tensors, and which of them it is of.

    Raises:
        RefusedInput: the file is not readable or holds other tensors; each one that is wrong is named.
    """
    state, taken = read_state(path, PUBLISHED)
    # Older versions of transformers keep the numbers 0, 1, ... of the positions among the tensors.
    state.pop("clip_embedding.position_ids", None)
    model = _skeleton(find_text_config(state, path))
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_state(state, expected, path, PUBLISHED)
    model.load_state_dict(state, assign=True)
    return model, taken


def find_text_config(state: Mapping[str, Tensor], path: Path) -> TextEncoderConfig:
    """The sizes that the shapes tell.

    Raises:
        RefusedInput: a tensor that tells one is missing or has other dimensions, or sizes don't fit.
    """

    def shape(name: str, dimensions: int = 2) -> tuple[int, ...]:
        return find_shape(state, name, dimensions, path, PUBLISHED)

    vocabulary, width = shape("clip_embedding.token_embedding.weight")
    hidden, inputs = shape("fc1.weight")
    sizes = {
        "vocabulary": vocabulary,
        "positions": shape("clip_embedding.position_embedding.weight")[0],
        "token_width": width,
        "tokens": inputs // width,
        "hidden_width": hidden,
        "embedding_width": shape("fc2.weight")[0],
        "time_steps": shape("weights_tensor", 3)[1],
    }
    with named(path):
        return TextEncoderConfig(**sizes)


def _skeleton(config: TextEncoderConfig) -> SpikingTextEncoder:
    with torch.device("meta"):
        return SpikingTextEncoder(config)
