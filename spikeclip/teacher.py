"""Teachers: models whose image features and label logits a SpikeCLIP encoder is trained to have."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from neuromorphic.arrays import opened_npz
from neuromorphic.cluster.ranges import batches
from neuromorphic.files import atomic
from spikeclip.batches import normalised
from spikeclip.checkpoint import weights_sha256
from spikeclip.clip_text import load_clip
from spikeclip.data import ImageSet
from spikeclip.distributed import rank, wait_for_all
from spikeclip.errors import RefusedInput
from spikeclip.labels import Cosine, LabelSet
from spikeclip.preprocess import ANTIALIASED, Resize
from spikeclip.published import CLIP_MEAN, CLIP_STD
from spikeclip.shipped import shipped
from spikeclip.twin_checkpoint import TwinCheckpoint, load_twin


class Teacher(ABC):
    """Image features, and logits by their cosines with label vectors.

    Attributes:
        kind: of network, for cards.
        model: what computes the features.
        name: the path or hub name that it was loaded from.
        embedding_width: dimensions of its features.
        scale: factor on its cosines.
        cosine: with what label vectors those are.
        resize: how the images that it is shown are resized.
    """

    kind: ClassVar[str]
    model: nn.Module
    name: str
    embedding_width: int
    scale: float
    cosine: Cosine = "plain"
    resize: Resize = ANTIALIASED

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Features, not normalised, where it computes: uint8 `[N, H, W, 3]` to float32 `[N, embedding_width]`."""

    def image_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`features` of numpy arrays: uint8 `[N, H, W, 3]` to float32 `[N, embedding_width]`."""
        return self.features(torch.from_numpy(images)).cpu().numpy()

    def logits(self, images: NDArray[np.uint8], labels: LabelSet) -> NDArray[np.float32]:
        """`scale · cos(features, label vectors)`: uint8 `[N, H, W, 3]` to float32 `[N, classes]`."""
        features = self.image_features(images)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        return (self.scale * (unit @ labels.compared(self.cosine).T)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The teacher as cards and resumed runs identify it, JSON-compatible."""
        digest = weights_sha256(self.model)
        return {"teacher": self.kind, "name": Path(self.name).name, "sha256": digest, "scale": self.scale}


class ClipTeacher(Teacher):
    """CLIP's image tower by `transformers`: images are resized (bicubic, antialiased) and normalised as CLIP's are."""

    kind = "clip"

    def __init__(self, name: str, device: str = "cpu") -> None:
        """Load it.

        Args:
            name: a folder that transformers saved, or a name on the hub.
            device: where it computes.

        Raises:
            RefusedInput: as of `load_clip`.
        """
        self.model = model = load_clip(name).to(device)
        self._device = device
        self._mean, self._std = (torch.tensor(v, device=device)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
        self.name = name
        self.embedding_width = int(model.config.projection_dim)
        self.scale = float(model.logit_scale.exp())

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        size = self.model.config.vision_config.image_size
        x = images.to(self._device).permute(0, 3, 1, 2).float()
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp(0, 255)
        pooled = self.model.vision_model(pixel_values=(x - self._mean) / self._std).pooler_output
        return self.model.visual_projection(pooled).float()


class TwinTeacher(Teacher):
    """The ANN twin of an encoder, or another conventional network, from its checkpoint."""

    kind = "twin"

    def __init__(self, checkpoint: TwinCheckpoint, device: str = "cpu") -> None:
        self._checkpoint, self._device = checkpoint, device
        self.model = checkpoint.model.to(device, memory_format=torch.channels_last).eval()
        self.name = str(checkpoint.path or "twin")
        self.embedding_width = checkpoint.config.embedding_width
        self.scale = checkpoint.scale
        self.cosine = checkpoint.cosine
        self.resize = checkpoint.preprocessing.resize

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        self._checkpoint.preprocessing.check(tuple(images.shape))
        return self.model(normalised(images.to(self._device), self._checkpoint.preprocessing)).float()


def load_teacher(spec: str, device: str = "cpu") -> Teacher:
    """The teacher that `spec` names: a twin (path or shipped name), a folder that transformers saved, or a hub name.

    Raises:
        RefusedInput: there is none.
    """
    if spec.endswith(".safetensors") or spec in shipped("twins"):
        return TwinTeacher(load_twin(spec), device)
    if Path(spec).is_file():
        raise RefusedInput(f"teacher {spec}: expected a twin's checkpoint (.safetensors), a CLIP folder or a hub name")
    return ClipTeacher(spec, device)


def cached_features(teacher: Teacher, images: ImageSet, cache: Path, batch_size: int = 64) -> NDArray[np.float32]:
    """Features of `images` as they are, float32 `[N, D]`: from `cache` where it holds them, else computed and kept.

    Of several processes, the first computes and the others read.

    Raises:
        RefusedInput: `cache` is there, but of other images or another teacher, or can't be written.
    """
    if not cache.parent.is_dir():
        raise RefusedInput(f"{cache}: its folder does not exist")
    identity = json.dumps({"images": images.sha256, **teacher.to_dict()})
    if rank() == 0 and not cache.is_file():
        parts = batches(len(images), batch_size)
        features = np.concatenate([teacher.image_features(images.images[part]) for part in parts])
        with atomic(cache) as partial, partial.open("wb") as file:
            np.savez(file, features=features, identity=identity)
    wait_for_all()
    with opened_npz(cache) as file:
        features, found = file["features"], str(file["identity"])
    if found != identity or features.shape != (len(images), teacher.embedding_width):
        raise RefusedInput(f"{cache}: holds features of other images or another teacher; delete it or name another")
    return features
