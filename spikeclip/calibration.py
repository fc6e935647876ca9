"""Statistics of batch normalisation, measured on the weights that are saved."""

import torch
from torch import nn

from neuromorphic.cluster.ranges import batches
from spikeclip.data import ImageSet
from spikeclip.fused_lif import fused_neurons
from spikeclip.preprocess import Preprocessing

BATCH_SIZE = 64


@torch.no_grad()
def calibrate(
    model: nn.Module,
    preprocessing: Preprocessing,
    images: ImageSet,
    count: int,
    device: str = "cpu",
) -> None:
    """Measure the statistics of batch normalisation anew, in place, on the first `count` of `images`.

    Averaged weights make currents that training never normalised; what an average of its statistics says of them is
    off by as much as the weights have moved (as in `torch.optim.swa_utils.update_bn`).
    """
    model.to(device)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    model.train()
    with fused_neurons(model):
        for part in batches(min(count, len(images)), BATCH_SIZE):
            model(torch.from_numpy(preprocessing(images.images[part])).to(device))
    model.eval()
