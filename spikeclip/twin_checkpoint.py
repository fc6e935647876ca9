"""Checkpoints of conventional networks, of the ANN twin above all: safetensors, with what they mean as JSON in them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from neuromorphic.errors import meant, named
from neuromorphic.files import write_json
from spikeclip.checkpoint import check_preprocessing, check_tensors, read_tensors, write_tensors
from spikeclip.config import SpikeClipConfig
from spikeclip.errors import RefusedInput
from spikeclip.labels import Cosine
from spikeclip.preprocess import Preprocessing
from spikeclip.resnet import ResNet
from spikeclip.shipped import shipped
from spikeclip.twin import AnnTwin

TWIN_FORMAT = "spikeclip-twin"

NETWORKS: dict[str, type[AnnTwin] | type[ResNet]] = {"twin": AnnTwin, "resnet": ResNet}
"""Networks that a checkpoint may hold, by their names in the file; a file without one holds a twin."""


@dataclass(frozen=True)
class TwinCheckpoint:
    """A trained conventional network with all that using it takes.

    Attributes:
        model: one of `NETWORKS`, in evaluation mode; its outputs are embeddings.
        config: of the encoder whose twin it is.
        preprocessing: how images become its input.
        label_names: what it was trained to tell apart.
        scale: factor on the cosines of its embeddings with label vectors.
        centred: whether those are `LabelSet.directions` or unit vectors.
        card: how it was made, and what was measured.
        path: where it was read from; None for one that was just made.
    """

    model: AnnTwin | ResNet
    config: SpikeClipConfig
    preprocessing: Preprocessing
    label_names: tuple[str, ...]
    scale: float
    centred: bool
    card: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        check_preprocessing(self.path or "the twin", self.config, self.preprocessing)

    @property
    def cosine(self) -> Cosine:
        """The label vectors that it was trained with."""
        return "centred" if self.centred else "plain"


def save_twin(checkpoint: TwinCheckpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, whole or not at all, and its card as JSON beside it."""
    metadata = {
        "config": checkpoint.config.to_dict(),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "label_names": list(checkpoint.label_names),
        "cosines": {"scale": checkpoint.scale, "centred": checkpoint.centred},
        "card": checkpoint.card,
    }
    if not isinstance(checkpoint.model, AnnTwin):
        metadata["network"] = next(name for name, kind in NETWORKS.items() if type(checkpoint.model) is kind)
    write_tensors(checkpoint.model, TWIN_FORMAT, metadata, path)
    write_json(path.with_suffix(".json"), checkpoint.card)


def is_twin(name_or_path: str | Path) -> bool:
    """Whether the file says that it is a twin's checkpoint; what is wrong with another one is for its loader to say."""
    try:
        with safe_open(_find(name_or_path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("spikeclip", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        return False
    return isinstance(metadata, dict) and metadata.get("format") == TWIN_FORMAT


def load_twin(name_or_path: str | Path) -> TwinCheckpoint:
    """The twin that ships under that name, or the checkpoint of that path.

    Raises:
        RefusedInput: there is none, it is of an encoder, its tensors don't fit, or a weight is not finite.
    """
    path = _find(name_or_path)
    if not path.is_file():
        known = shipped("twins")
        raise RefusedInput(
            f"twin {path}: no such file; expected a checkpoint of spikeclip-train --twin, or {', '.join(known)}"
            f"{meant(str(path), known)}"
        )
    tensors, metadata = read_tensors(path)
    cosines = metadata.get("cosines")
    if metadata.get("format") != TWIN_FORMAT or not isinstance(cosines, dict) or set(cosines) != {"scale", "centred"}:
        raise RefusedInput(f"{path}: is no twin ({metadata.get('format')}); expected one of spikeclip-train --twin")
    with named(path):
        config = SpikeClipConfig.from_dict(metadata["config"])
        preprocessing = Preprocessing.from_dict(metadata["preprocessing"])
    network = metadata.get("network", "twin")
    if network not in NETWORKS:
        raise RefusedInput(f"{path}: holds a network {network!r}; expected {' or '.join(NETWORKS)}")
    model = NETWORKS[network](config)
    check_tensors(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return TwinCheckpoint(
        model.eval().requires_grad_(False),
        config,
        preprocessing,
        tuple(metadata["label_names"]),
        float(cosines["scale"]),
        bool(cosines["centred"]),
        metadata["card"],
        path,
    )


def _find(name_or_path: str | Path) -> Path:
    return shipped("twins").get(str(name_or_path), Path(name_or_path))
