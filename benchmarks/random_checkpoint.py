"""An untrained encoder to time where no trained one ships: what Lava takes depends on sizes and on firing rates."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from spikeclip.checkpoint import Checkpoint
from spikeclip.config import preset
from spikeclip.encoder import Encoder, SpikeClip
from spikeclip.preprocess import Preprocessing

CLASSES = 10


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
