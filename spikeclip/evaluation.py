"""Evaluation in CLIP's embedding space: the classes that were trained, among foreign names, and under other names.

Three kinds of candidates (arXiv 2310.06488): the data set's *own* names; *expanded*, with names that no image has; and
*unseen*, with each name replaced by one that was never trained on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from neuromorphic.cluster.ranges import batches
from neuromorphic.cluster.sharded import Sharing, sharded
from spikeclip.candidates import Candidates
from spikeclip.checkpoint import Checkpoint, check_labels, fingerprint, trained_cosine
from spikeclip.class_names import find_classes
from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput
from spikeclip.fused_lif import fused_neurons
from spikeclip.labels import Cosine
from spikeclip.predictions import TOP

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

BATCH_SIZE = 50
SHARD = 500
"""Images that run together on a cluster: whole batches, as they would be without one."""
TAKEN = 10
"""Foreign names that a result lists: those that took most images."""


class ImageEncoder(Protocol):
    """Embeds images, as `spikeclip.teacher.Teacher` does; evaluated beside checkpoints."""

    def image_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings of images uint8 `[N, H, W, 3]`: float32 `[N, D]`, of any length."""


@dataclass(frozen=True)
class Result:
    """The result of one encoder on one set of candidates.

    Attributes:
        ranks: of the right candidate for each image, from 0: int64 `[N]`; of equal scores the earlier one is ahead.
        predictions: candidates: int64 `[N]`.
        truth: int64 `[N]`.
        classes: names of the data set's classes.
        names: of the candidates.
    """

    ranks: NDArray[np.int64]
    predictions: NDArray[np.int64]
    truth: NDArray[np.int64]
    classes: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """The share of images whose right candidate is first."""
        return float((self.ranks == 0).mean())

    @property
    def top5(self) -> float | None:
        """The share of images whose right candidate is one of five; None where there are no more than five."""
        return float((self.ranks < TOP).mean()) if len(self.names) > TOP else None

    @property
    def foreign(self) -> int:
        """Images that were taken for a foreign name."""
        return int((self.predictions >= len(self.classes)).sum())

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Images of class i taken for class j: `[classes, classes]`, with a column more for foreign names, if any."""
        n = len(self.classes)
        table = np.zeros((n, min(len(self.names), n + 1)), np.int64)
        np.add.at(table, (self.truth, np.minimum(self.predictions, n)), 1)
        return table

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON-compatible dictionary; the accuracy of a class without images is None."""
        table = self.confusion
        images = table.sum(1)
        taken = np.bincount(self.predictions, minlength=len(self.names))[len(self.classes) :]
        most = [i for i in np.argsort(-taken, kind="stable")[:TAKEN] if taken[i]]
        return {
            "candidates": len(self.names),
            "accuracy": self.accuracy,
            "top5": self.top5,
            "per_class": {
                name: {
                    "scored_as": self.names[i],
                    "images": int(images[i]),
                    "accuracy": float(table[i, i] / images[i]) if images[i] else None,
                }
                for i, name in enumerate(self.classes)
            },
            "confusion": table.tolist(),
            "foreign": self.foreign,
            "most_taken": {self.names[len(self.classes) + i]: int(taken[i]) for i in most},
        }


def rank(
    scores: NDArray[np.float32], truth: NDArray[np.int64], classes: tuple[str, ...], names: tuple[str, ...]
) -> Result:
    """The result of scores `[N, candidates]`, the first of which are the classes'.

    Raises:
        RefusedInput: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise RefusedInput("a score is not finite; is the encoder trained?")
    right = scores[np.arange(len(truth)), truth][:, None]
    earlier = np.arange(scores.shape[1]) < truth[:, None]
    ranks = ((scores > right) | ((scores == right) & earlier)).sum(1)
    return Result(ranks.astype(np.int64), scores.argmax(1).astype(np.int64), truth, classes, names)


def embed(
    encoder: ImageEncoder, images: ImageSet, progress: Progress = lambda done, total: None
) -> NDArray[np.float32]:
    """Embeddings of all images, in batches: float32 `[N, D]`."""
    parts = []
    for part in batches(len(images), BATCH_SIZE):
        progress(part.start, len(images))
        parts.append(encoder.image_features(images.images[part]))
    progress(len(images), len(images))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Featuring:
    """A checkpoint's encoder, up to its head, on a shard of a run's images, for workers of a cluster."""

    checkpoint: Checkpoint
    device: str

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8], progress: Progress) -> NDArray[np.float32]:
        """Features of images uint8 `[N, H, W, 3]`: float32 `[N, width]`."""
        model = self.checkpoint.model.to(self.device).eval()
        parts = []
        with fused_neurons(model):
            for part in batches(len(images), BATCH_SIZE):
                x = torch.from_numpy(self.checkpoint.preprocessing(images[part])).to(self.device)
                parts.append(model.encoder.features(x).cpu().numpy())
                progress(part.stop, len(images))
        return np.concatenate(parts)


@torch.no_grad()
def run(
    checkpoint: Checkpoint,
    images: ImageSet,
    device: str = "cpu",
    progress: Progress = lambda done, total: None,
    sharing: Sharing | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings and the readout's scores of all images: float32 `[N, embedding_width]` and `[N, classes]`.

    Arguments as of `evaluate_checkpoint`.
    """
    shards = [*batches(len(images), SHARD)]

    def of_run() -> dict[str, Any]:
        encoder = fingerprint(checkpoint.model, checkpoint.config, checkpoint.preprocessing)
        return {"command": "eval", "checkpoint": encoder, "data": images.sha256}

    task = Featuring(checkpoint, device)
    parts = sharded(task, lambda number, part: images.images[part], shards, sharing, run=of_run, progress=progress)
    model, features = checkpoint.model.to(device).eval(), torch.from_numpy(np.concatenate(parts)).to(device)
    return model.encoder.head(features).cpu().numpy(), model.readout(features).cpu().numpy()


def score(
    embeddings: NDArray[np.float32], truth: NDArray[np.int64], candidates: Candidates, classes: tuple[str, ...],
    cosine: Cosine,
) -> Result:  # fmt: skip
    """`rank(E Lᵀ)`: cosine similarity but for the division by the embedding's length, which changes no rank.

    Raises:
        RefusedInput: embeddings and label vectors have different widths, or an embedding is not finite.
    """
    directions = candidates.directions(cosine)
    if embeddings.shape[1] != directions.shape[1]:
        raise RefusedInput(
            f"embeddings have width {embeddings.shape[1]}; the label vectors of {candidates.labels.names[0]}, ... "
            f"have {directions.shape[1]}"
        )
    return rank(embeddings @ directions.T, truth, classes, candidates.labels.names)


def class_names(images: ImageSet, names: tuple[str, ...]) -> tuple[str, ...]:
    """The images' own class names, or `names` where they have none.

    Raises:
        RefusedInput: the images have no labels, or one beyond the names.
    """
    highest = int(images.known_labels.max())
    found = images.label_names or names
    if not found:
        raise RefusedInput(f"images {images.source!r}: their classes have no names; expected --labels")
    if highest >= len(found):
        raise RefusedInput(f"images {images.source!r}: label {highest}; there are {len(found)} names")
    return found


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        model: path or name of what was evaluated.
        kind: `snn`, `twin` or `teacher`.
        label_set: `own`, `expanded` or `unseen`.
        cosine: with what embeddings were compared.
        result: how it did.
    """

    model: str
    kind: str
    label_set: str
    cosine: Cosine
    result: Result

    def to_dict(self) -> dict[str, Any]:
        """The row, JSON-compatible."""
        named = {"model": self.model, "kind": self.kind, "label_set": self.label_set, "cosine": self.cosine}
        return {**named, **self.result.to_dict()}


def evaluate_encoder(
    name: str,
    kind: str,
    encoder: ImageEncoder,
    images: ImageSet,
    classes: tuple[str, ...],
    candidates: Sequence[Candidates],
    cosines: Sequence[Cosine],
    progress: Progress = lambda done, total: None,
) -> list[Row]:
    """A row for every set of candidates and every cosine, in one pass over the images."""
    embeddings = embed(encoder, images, progress)
    return _rows(name, kind, embeddings, images, classes, candidates, cosines)


def evaluate_checkpoint(
    name: str,
    checkpoint: Checkpoint,
    images: ImageSet,
    classes: tuple[str, ...],
    candidates: Sequence[Candidates],
    cosines: Sequence[Cosine] = (),
    device: str = "cpu",
    progress: Progress = lambda done, total: None,
    sharing: Sharing | None = None,
) -> list[Row]:
    """A row for every set of candidates and every cosine, in one pass over the images.

    Where no candidates are the classes' own names, the readout's scores of them make the first row.

    Args:
        name: what to call it.
        checkpoint: the encoder and its readout.
        images: of the encoder's size, with labels.
        classes: their names, in the order of the labels.
        candidates: what to compare embeddings with.
        cosines: how; by default as the encoder was trained (`checkpoint.trained_cosine`).
        device: where to compute.
        progress: told of every batch.
        sharing: how shards of the images are shared out; None for one after the other, here.

    Raises:
        RefusedInput: candidates are of another width or CLIP, or the readout lacks a class.
    """
    for each in candidates:
        check_labels(name, checkpoint.config, checkpoint.card, each.labels)
    from_readout = all(each.kind == "unseen" for each in candidates)
    order = _columns(name, checkpoint.label_names, classes) if from_readout else []
    trained = trained_cosine(checkpoint.card)
    embeddings, scores = run(checkpoint, images, device, progress, sharing)
    rows = []
    if from_readout:
        rows.append(Row(name, "snn", "own", trained, rank(scores[:, order], images.known_labels, classes, classes)))
    return rows + _rows(name, "snn", embeddings, images, classes, candidates, cosines or [trained])


def _rows(
    name: str,
    kind: str,
    embeddings: NDArray[np.float32],
    images: ImageSet,
    classes: tuple[str, ...],
    candidates: Sequence[Candidates],
    cosines: Sequence[Cosine],
) -> list[Row]:
    return [
        Row(name, kind, each.kind, cosine, score(embeddings, images.known_labels, each, classes, cosine))
        for each in candidates
        for cosine in cosines
    ]


def _columns(name: str, names: tuple[str, ...], classes: tuple[str, ...]) -> list[int]:
    if not names:
        raise RefusedInput(f"{name}: its readout has no names of classes; expected --labels")
    try:
        return list(find_classes(classes, names, name, "the readout"))
    except RefusedInput as error:
        raise RefusedInput(f"{error}; expected --labels with a vector for each") from error
