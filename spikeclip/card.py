"""The card of a checkpoint: what was measured of it, as JSON in the file and beside it."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from spikingjelly.activation_based import layer, neuron

from neuromorphic.cluster.ranges import batches
from neuromorphic.files import write_json
from spikeclip.checkpoint import Checkpoint, save
from spikeclip.data import ImageSet
from spikeclip.fused_lif import fused_neurons
from spikeclip.neurons import And
from spikeclip.predictions import known_classes

SPIKING = {"paper": (neuron.LIFNode,), "spike-driven": (neuron.LIFNode, And, layer.MaxPool2d)}
"""Modules whose outputs are spikes, by architecture: the spike-driven encoder max-pools spikes, the paper currents."""


@torch.no_grad()
def measure(
    checkpoint: Checkpoint,
    images: ImageSet,
    device: str = "cpu",
    batch_size: int = 32,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Accuracy and firing rates on `images`, in one pass.

    Returns:
        `{"images", "sha256", "accuracy", "firing_rates": {module path: spikes per neuron and time step}}`.

    Raises:
        RefusedInput: the images have no labels, or one of a class that the readout doesn't have.
    """
    names, outputs = checkpoint.label_names, checkpoint.model.readout.out_features
    truth, _ = known_classes(images, names, outputs, str(checkpoint.path or "the encoder"))
    model = checkpoint.model.to(device).eval()
    sent = Counter[str]()
    sizes = Counter[str]()

    def count(name: str, module: torch.nn.Module, inputs: object, spikes: torch.Tensor) -> None:
        sent[name] += int(spikes.sum(dtype=torch.float64))
        sizes[name] += spikes.numel()

    right = 0
    with fused_neurons(model), ExitStack() as hooks:
        for name, module in model.encoder.named_modules():
            if isinstance(module, SPIKING[checkpoint.config.architecture]):
                hooks.enter_context(module.register_forward_hook(partial(count, name)))
        for part in batches(len(images), batch_size):
            progress(part.start, len(images))
            x = torch.from_numpy(checkpoint.preprocessing(images.images[part])).to(device)
            right += int((model(x).argmax(1).cpu().numpy() == truth[part]).sum())
    progress(len(images), len(images))
    return {
        "images": len(images),
        "sha256": images.sha256,
        "accuracy": right / len(images),
        "firing_rates": {name: round(sent[name] / sizes[name], 5) for name in sent},
    }


def save_with_card(checkpoint: Checkpoint, path: Path, test: dict[str, Any] | None) -> Checkpoint:
    """Write the checkpoint and its card as JSON beside it; return the checkpoint with that card.

    The card is the checkpoint's own, with sizes and `test` (from `measure`; None where nothing was measured) on it.
    """
    card = {
        **checkpoint.card,
        "config": checkpoint.config.to_dict(),
        "parameters": sum(p.numel() for p in checkpoint.model.encoder.parameters()),
        "label_names": list(checkpoint.label_names),
        "test": test,
    }
    measured = replace(checkpoint, card=card)
    save(measured, path)
    write_json(path.with_suffix(".json"), card)
    return measured
