"""Checkpoints: weights as safetensors, and what they mean as JSON in the same file's metadata."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import nn

from neuromorphic.errors import meant, named
from neuromorphic.files import write_bytes
from spikeclip import published
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder, SpikeClip, fold_readout, unfold_readout
from spikeclip.errors import RefusedInput
from spikeclip.labels import Cosine, LabelSet, different_spaces
from spikeclip.preprocess import Preprocessing
from spikeclip.shipped import shipped

FORMAT = "spikeclip-checkpoint"
FORMAT_VERSION = 1

METADATA = {"config": dict, "label_names": list, "preprocessing": dict, "card": dict}
"""Entries of the metadata of an encoder and of a twin, and their types."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained encoder with all that using it takes.

    Attributes:
        model: the encoder with its folded readout, in evaluation mode.
        preprocessing: how images become the encoder's input.
        card: what was measured and how it was made: recipe, data set hash, accuracy, firing rates.
        path: where it was read from; None for one that was just made.
    """

    model: SpikeClip
    preprocessing: Preprocessing
    card: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        check_preprocessing(self.path or "the checkpoint", self.config, self.preprocessing)

    @property
    def config(self) -> SpikeClipConfig:
        """The encoder's configuration."""
        return self.model.encoder.config

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes that the readout scores."""
        return self.model.label_names


def check_preprocessing(path: str | Path, config: SpikeClipConfig, preprocessing: Preprocessing) -> None:
    """Refuse a preprocessing that makes other images than the encoder reads.

    Raises:
        RefusedInput: they have other sides or channels.
    """
    channels, size = len(preprocessing.mean), preprocessing.image_size
    if (channels, size) != (config.image_channels, config.image_size):
        raise RefusedInput(
            f"{path}: its preprocessing makes {channels} channels of {size} pixels; expected the encoder's "
            f"{config.image_channels} of {config.image_size}"
        )


def fingerprint(model: nn.Module, *settings: object) -> str:
    """`sha256(settings, parameters)` of a model: 64 hexadecimal digits, equal for models that compute the same."""
    digest = sha256(repr(settings).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def weights_sha256(model: nn.Module) -> str:
    """`sha256(parameters)` alone, one after the other: what cards and the states of runs call a model by."""
    return sha256(b"".join(map(_bytes, model.state_dict().values()))).hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes()


def label_set(name_or_path: str | Path) -> LabelSet:
    """The label vectors that a checkpoint's readout was made of, as far as its head can see (`unfold_readout`).

    Raises:
        RefusedInput: as of `load`, or the checkpoint was trained without a readout of names.
    """
    found = load(name_or_path)
    if not found.label_names:
        raise RefusedInput(f"{name_or_path}: has no names of classes; expected a checkpoint with a readout")
    vectors = unfold_readout(found.model.encoder, found.model.readout).float().numpy()
    return LabelSet(found.label_names, vectors, str(found.card.get("clip", "")))


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, whole or not at all."""
    metadata = {
        "config": checkpoint.config.to_dict(),
        "label_names": list(checkpoint.label_names),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "card": checkpoint.card,
    }
    write_tensors(checkpoint.model, FORMAT, metadata, path)


def load(
    name_or_path: str | Path,
    *,
    heads: int | None = None,
    image_size: int | None = None,
    labels: LabelSet | None = None,
) -> Checkpoint:
    """The checkpoint of that path, or the one of that name that ships with the package.

    A file that ends in `.pth`, `.pt` or `.tar` is a published one (`published.load_published`).  It has no label set:
    without `labels` the readout is the encoder's head, whose outputs are the embedding.  Any other holds the readout of
    the label set that it was trained with, which `labels` replaces.

    Args:
        name_or_path: path or name.
        heads: attention heads, of a published checkpoint, which doesn't hold their number.
        image_size: pixels, of a published checkpoint; 32 by default.
        labels: the label set to read out: scores are cosine similarities times the embedding's length, with the label
            vectors as they are or with centred ones (`LabelSet.directions`), as it was trained (`trained_cosine`).

    Raises:
        RefusedInput: there is none, it is not a SpikeCLIP checkpoint, its tensors don't fit its configuration, a
            weight is not finite, an option doesn't belong to it, or the labels are of another width or another CLIP.
    """
    path = Path(name_or_path)
    if not path.is_file():
        known = shipped()
        if str(name_or_path) not in known:
            raise RefusedInput(
                f"checkpoint {str(name_or_path)!r}: no such file, and none of that name ships with the package; "
                f"those that do: {', '.join(known) or 'none'}{meant(str(name_or_path), known)}"
            )
        path = known[str(name_or_path)]
    if path.suffix in published.SUFFIXES:
        return _load_published(path, heads, image_size, labels)
    for option, value in (("--heads", heads), ("--image-size", image_size)):
        if value is not None:
            raise RefusedInput(
                f"{path}: holds its own sizes; expected {option} with a published checkpoint "
                f"({', '.join(published.SUFFIXES)}) only"
            )
    tensors, metadata = read_tensors(path)
    with named(path):
        config = SpikeClipConfig.from_dict(metadata["config"])
        preprocessing = Preprocessing.from_dict(metadata["preprocessing"])
    label_names = tuple(metadata["label_names"])
    model = SpikeClip(Encoder(config), nn.Linear(config.width, len(label_names)), label_names)
    check_tensors(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    card = metadata["card"]
    if labels is not None:
        check_labels(path, config, card, labels)
        vectors = torch.from_numpy(labels.compared(trained_cosine(card)))
        model = SpikeClip(model.encoder, fold_readout(model.encoder, vectors), labels.names)
        card = {**card, "label_names": list(labels.names), "test": None}  # what was measured was of other labels
    model.requires_grad_(False)
    return Checkpoint(model.eval(), preprocessing, card, path)


def trained_cosine(card: dict[str, Any]) -> Cosine:
    """The label vectors that an encoder was trained with: its card's `cosine`; if that is missing, centred ones.

    Published encoders were trained with label vectors as they are, `plain`.
    """
    return "plain" if "published" in card or card.get("cosine") == "plain" else "centred"


def check_labels(path: str | Path, config: SpikeClipConfig, card: dict[str, Any], labels: LabelSet) -> None:
    """Refuse labels that the encoder's embedding can't be compared with.

    Raises:
        RefusedInput: they have another width, or are of another CLIP than the card's `clip` says.
    """
    if labels.vectors.shape[1] != config.embedding_width:
        raise RefusedInput(
            f"{path}: embeds in {config.embedding_width} dimensions; the label vectors have {labels.vectors.shape[1]}"
        )
    clip = card.get("clip", "")
    if isinstance(clip, str) and different_spaces(clip, labels.clip):
        raise RefusedInput(f"{path}: was trained with labels of CLIP {clip}; the label vectors are of {labels.clip}")


def _load_published(path: Path, heads: int | None, image_size: int | None, labels: LabelSet | None) -> Checkpoint:
    encoder, preprocessing, taken = published.load_published(path, heads, image_size)
    found = "; ".join(filter(None, (published.describe(encoder.config), taken)))
    readout, names = encoder.head, ()
    if labels is not None:
        check_labels(path, encoder.config, {}, labels)
        readout, names = fold_readout(encoder, torch.from_numpy(labels.unit())), labels.names
    model = SpikeClip(encoder, copy.deepcopy(readout), names).requires_grad_(False)
    return Checkpoint(model.eval(), preprocessing, {"published": found}, path)


def write_tensors(model: nn.Module, kind: str, metadata: Mapping[str, Any], path: Path) -> None:
    """Write the tensors of `model` and `metadata` of that format to `path`, whole or not at all, for `read_tensors`."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    document = json.dumps({"format": kind, "format_version": FORMAT_VERSION, **metadata})
    write_bytes(path, serialised(tensors, metadata={"spikeclip": document}))


def read_tensors(path: Path, expected: dict[str, type] = METADATA) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and the metadata of a checkpoint: of an encoder, a twin or a text encoder (`*_checkpoint`).

    Args:
        path: a safetensors file.
        expected: entries of the metadata and their types.

    Raises:
        RefusedInput: the file is not readable, or not written by spikeclip-train.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("spikeclip")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise RefusedInput(
            f"{path}: not a readable .safetensors file; expected a whole one, as spikeclip-train writes it"
        ) from error
    if text is None:
        raise RefusedInput(f"{path}: no SpikeCLIP metadata; expected a checkpoint written by spikeclip-train")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedInput(f"{path}: its metadata is not JSON; expected such as spikeclip-train writes") from error
    version = metadata.get("format_version") if isinstance(metadata, dict) else None
    if version != FORMAT_VERSION:
        raise RefusedInput(f"{path}: checkpoint format {version!r}; expected {FORMAT_VERSION}")
    for key, kind in expected.items():
        if not isinstance(metadata.get(key), kind):
            raise RefusedInput(f"{path}: its metadata has no {key}; is it a checkpoint written by spikeclip-train?")
    return tensors, metadata


def check_tensors(path: Path, found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Refuse tensors that aren't the expected ones.

    Raises:
        RefusedInput: a name or a shape is another, or a value is not finite.
    """
    for name in sorted(set(found) ^ set(expected)):
        where = "is not in this architecture" if name in found else "is missing"
        raise RefusedInput(f"{path}: tensor {name} {where}; is it a checkpoint of another model?")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise RefusedInput(f"{path}: {name} has the shape {list(found[name].shape)}; expected {list(tensor.shape)}")
        if not torch.isfinite(found[name]).all():
            raise RefusedInput(f"{path}: {name} holds values that are not finite")
