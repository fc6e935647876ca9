"""The loss of each stage: from embeddings, a batch, labels and a teacher."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from spikeclip.batches import Batch
from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput
from spikeclip.labels import Cosine, LabelSet
from spikeclip.losses import alignment_loss, dual_loss
from spikeclip.recipe import Recipe
from spikeclip.teacher import Teacher, cached_features


@dataclass(frozen=True)
class Objective:
    """The loss of a step, as the recipe's stage has it.

        classify:  CE(t cos(e, v), y)
        align:     1 - cos(e, f)
        dual:      CE(t cos(e, v), y) + weight · KL(u cos(f, v) ‖ t cos(e, v))

    with embeddings e, the teacher's features f, label vectors v, labels y, and temperatures t and u.

    Attributes:
        recipe: has the stage, weights and temperatures.
        labels: in the order of the class numbers.
        vectors: the v, float32 `[classes, D]`.
        cosine: whether those are the label directions or the unit label vectors.
        teacher: None in `classify`.
        features: the teacher's, of the images as they are, float32 `[N, D]`; None to ask it for those of the batch.
    """

    recipe: Recipe
    labels: LabelSet
    vectors: Tensor
    cosine: Cosine
    teacher: Teacher | None = None
    features: NDArray[Any] | None = None

    def __call__(self, embeddings: Tensor, temperature: Tensor, batch: Batch, time_steps: int) -> Tensor:
        """The mean over the batch: embeddings float32 `[B, D]` to float `[]`."""
        recipe = self.recipe
        if recipe.stage == "align":
            return alignment_loss(embeddings, self._teacher_features(batch))
        logits = temperature * (F.normalize(embeddings, dim=1) @ self.vectors.T)
        labels = batch.labels.to(embeddings.device)
        if recipe.stage == "classify":
            return F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        scale = self.teacher.scale if recipe.teacher_temperature is None else recipe.teacher_temperature
        target = scale * (F.normalize(self._teacher_features(batch), dim=1) @ self.vectors.T)
        return dual_loss(logits, target, labels, recipe.kl_weight, recipe.kl_temperature, recipe.label_smoothing)

    def about_teacher(self) -> dict[str, Any]:
        """JSON-compatible: which teacher, and whether its features are those of images that aren't augmented."""
        return {**self.teacher.to_dict(), "cached": self.features is not None}

    def _teacher_features(self, batch: Batch) -> Tensor:
        if self.features is not None:
            return torch.from_numpy(self.features[batch.indices]).to(self.vectors.device)
        with torch.autocast(self.vectors.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            return self.teacher.features(batch.images).to(self.vectors.device)


def find_objective(
    recipe: Recipe,
    images: ImageSet,
    labels: LabelSet,
    width: int,
    device: str,
    teacher: Teacher | None = None,
    cache: Path | None = None,
) -> Objective:
    """The objective of a recipe on `images`, for embeddings of `width`.

    Raises:
        RefusedInput: labels or widths don't fit, or a teacher or its cache is missing or not needed.
    """
    stage = recipe.stage
    if (teacher is None) != (stage == "classify"):
        expected = "no teacher" if teacher else "one (--teacher): a twin's checkpoint, a CLIP folder or a hub name"
        raise RefusedInput(f"stage {stage} with {'a' if teacher else 'no'} teacher; expected {expected}")
    if cache is not None and teacher is None:
        raise RefusedInput(f"{cache}: features of a teacher; stage {stage} has none")
    if images.labels is None and stage != "align":
        raise RefusedInput(f"images {images.source!r}: no labels to train on")
    if images.labels is not None:
        if images.label_names:
            labels = labels.ordered(images.label_names)
        check_classes(images, labels)
    if labels.vectors.shape[1] != width:
        raise RefusedInput(f"label vectors have width {labels.vectors.shape[1]}; expected {width}")
    if teacher is None:
        cosine: Cosine = "centred" if recipe.centred else "plain"
        return Objective(recipe, labels, torch.from_numpy(labels.compared(cosine)).to(device), cosine)
    if teacher.embedding_width != width:
        raise RefusedInput(f"teacher {teacher.name}: embeds in {teacher.embedding_width} dimensions; expected {width}")
    features = cached_features(teacher, images, cache) if cache is not None else None
    vectors = torch.from_numpy(labels.compared(teacher.cosine)).to(device)
    return Objective(recipe, labels, vectors, teacher.cosine, teacher, features)


def check_classes(images: ImageSet, labels: LabelSet) -> None:
    """Refuse images whose labels aren't those of the label set.

    Raises:
        RefusedInput: they have none, other names, or higher numbers.
    """
    highest = int(images.known_labels.max())
    if images.label_names and images.label_names != labels.names:
        raise RefusedInput(
            f"images {images.source!r}: their labels are {', '.join(images.label_names[:12])}; "
            f"expected {', '.join(labels.names[:12])}"
        )
    if highest >= len(labels.names):
        raise RefusedInput(f"images {images.source!r}: label {highest}; the label set has {len(labels.names)}")


def identify(objective: Objective, images: ImageSet) -> dict[str, Any]:
    """JSON-compatible: the data, labels and teacher that a run must have in common with the one that it resumes."""
    labels = objective.labels
    found: dict[str, Any] = {
        "data": images.sha256,
        "labels": [list(labels.names), hashlib.sha256(labels.vectors.tobytes()).hexdigest()],
    }
    if objective.teacher is not None:
        found["teacher"] = objective.about_teacher()
    return found
