"""A head for label vectors as they are: the same predictions among an encoder's own names, and room for foreign ones.

An encoder that was trained with centred label vectors leaves open what its embeddings have in common, and there
foreign names win: CLIP's vectors are alike (cosines of 0.8 to 0.9), whoever they name.  This head is in closed form:

    e = Vᵀ (V Vᵀ)⁻¹ (1 + κ z)        z = (logits - mean) / deviation

with the unit label vectors V `[classes, D]` and the logits of the encoder as it is, standardised over training images.
Then v_k · e = 1 + κ z_k exactly: the order of the own names is that of the logits.  Of all such embeddings this is the
shortest, and so has the smallest products with whatever else there is.  The spread κ is a trade: the smaller, the rarer
foreign names win (down to one that lies amid its own, and would win at 0); the larger, the better the embedding tells
apart names that stand in place of its own.
"""

import copy

import numpy as np
import torch

from spikeclip.checkpoint import Checkpoint, check_labels, trained_cosine
from spikeclip.data import ImageSet
from spikeclip.encoder import SpikeClip, fold_readout
from spikeclip.errors import RefusedInput
from spikeclip.evaluation import Progress, run
from spikeclip.labels import LabelSet

DEPENDENT = 1e-5
"""Of the largest singular value: below it, vectors are dependent but for the rounding of float32."""


def with_plain_head(
    checkpoint: Checkpoint,
    labels: LabelSet,
    images: ImageSet,
    spread: float,
    device: str = "cpu",
    progress: Progress = lambda done, total: None,
) -> Checkpoint:
    """A copy of the checkpoint with that head, and the readout of its own names; computed in float64.

    Args:
        checkpoint: an encoder with the readout of a label set.
        labels: vectors of the readout's names, in any order.
        images: training images to standardise the logits on; their labels are not looked at.
        spread: κ.
        device: where to compute.
        progress: told of every batch of images.

    Returns:
        A checkpoint that is compared with label vectors as they are; what its card says of tests is taken out.

    Raises:
        RefusedInput: the checkpoint has no label set, `labels` lacks a name or is of another CLIP, vectors are
            linearly dependent, `spread` is not positive, or all logits are equal.
    """
    names = checkpoint.label_names
    if not names:
        raise RefusedInput(f"{checkpoint.path}: its readout has no label set; expected an encoder with one")
    if not 0 < spread < float("inf"):
        raise RefusedInput(f"spread is {spread}; expected a positive number")
    check_labels(checkpoint.path or "the checkpoint", checkpoint.config, checkpoint.card, labels)
    own = labels.ordered(names)
    vectors = own.unit().astype(np.float64)
    if np.linalg.matrix_rank(vectors, rtol=DEPENDENT) < len(vectors):
        raise RefusedInput(f"the vectors of {len(vectors)} names are linearly dependent; expected independent ones")
    given = own.compared(trained_cosine(checkpoint.card)).astype(np.float64)
    logits = run(checkpoint, images, device, progress)[0] @ given.T
    mean, deviation = logits.mean(), logits.std()
    if not deviation > 0:
        raise RefusedInput(f"{checkpoint.path}: all logits are {mean}; expected a trained encoder")

    encoder = copy.deepcopy(checkpoint.model.encoder).cpu()
    weight, bias = (tensor.double().numpy() for tensor in (encoder.head.weight, encoder.head.bias))
    project = np.linalg.pinv(vectors)
    with torch.no_grad():
        encoder.head.weight.copy_(torch.from_numpy(project @ (spread / deviation * given @ weight)))
        encoder.head.bias.copy_(torch.from_numpy(project @ (1 + spread / deviation * (given @ bias - mean))))
    model = SpikeClip(encoder, fold_readout(encoder, torch.from_numpy(own.unit())), names).requires_grad_(False)
    told = {"spread": spread, "images": len(images), "sha256": images.sha256}
    card = {**checkpoint.card, "cosine": "plain", "clip": labels.clip, "head": told, "test": None}
    return Checkpoint(model.eval(), checkpoint.preprocessing, card)
