"""An untrained encoder to time where no trained one ships: what Lava takes depends on sizes and on firing rates."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikeclip.checkpoint import Checkpoint, load
from spikeclip.config import preset
from spikeclip.data import load_images
from spikeclip.encoder import Encoder, SpikeClip
from spikeclip.preprocess import Preprocessing

CLASSES = 10
STATISTICS_IMAGES = 16


def find_encoder(name: str, random: bool, images: str, limit: int | None) -> tuple[Checkpoint, NDArray[np.uint8]]:
    """An encoder and the images that it is timed on, uint8 `[N, S, S, C]`.

    Args:
        name: of a checkpoint, a path or the name of one that ships; of a preset where it is `random`.
        random: whether its weights are.
        images: SPEC of images.
        limit: take only the first so many.

    Raises:
        RefusedInput: there is no such encoder, or there are no such images.
    """
    if random:
        shown = load_images(images, preset(name).image_size, limit).images
        return random_checkpoint(name, shown[:STATISTICS_IMAGES]), shown
    loaded = load(name)
    return loaded, load_images(images, loaded.config.image_size, limit).images


def random_checkpoint(name: str, images: NDArray, seed: int = 0, **changes: Any) -> Checkpoint:
    """The encoder of a preset with random weights, and with random statistics near those that its currents have.

    Args:
        name: of the preset.
        images: uint8 `[N, S, S, C]`, to take the statistics on, so that its neurons fire now and then.
        seed: of everything random.
        changes: of the preset's fields.

    Raises:
        RefusedInput: there is no such preset.
    """
    config = preset(name, **changes)
    torch.manual_seed(seed)
    encoder = Encoder(config)
    preprocessing = Preprocessing(image_size=config.image_size)
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.5)
            norm.momentum = None  # the mean over all batches, of which there is one
        encoder.train()(torch.from_numpy(preprocessing(images)))
        for norm in norms:
            norm.running_mean.add_(0.2 * norm.running_var.sqrt() * torch.randn(norm.num_features))
            norm.running_var.mul_(torch.empty(norm.num_features).uniform_(0.7, 1.4))
    names = tuple(f"class {i}" for i in range(CLASSES))
    model = SpikeClip(encoder, nn.Linear(config.width, CLASSES), names)
    return Checkpoint(model.eval().requires_grad_(False), preprocessing)
