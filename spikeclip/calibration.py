"""Statistics of batch normalisation, measured on the weights that are saved."""

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from neuromorphic.cluster.ranges import batches
from spikeclip.data import ImageSet
from spikeclip.fused_lif import fused_neurons
from spikeclip.preprocess import Preprocessing

BATCH_SIZE = 64


def calibrate(
    model: nn.Module,
    preprocessing: Preprocessing,
    images: ImageSet,
    count: int,
    device: str = "cpu",
) -> None:
    """Measure the statistics of batch normalisation anew, in place, on the first `count` of `images`.

    Averaged weights make currents that training never normalised; what an average of its statistics says of them is
    off by as much as the weights have moved.
    """
    parts = batches(min(count, len(images)), BATCH_SIZE)
    with fused_neurons(model.to(device)):
        update_bn((torch.from_numpy(preprocessing(images.images[part])) for part in parts), model, device)
    model.eval()
