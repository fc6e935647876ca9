"""Train a network of `networks.py` on CIFAR-10; a run that was cut off goes on from its last whole epoch.

A run goes on, too, with a longer schedule or with fewer images than before.

python -m benchmarks.trained.train sew --data cifar10:DIR:train --test cifar10:DIR:test -o sew.pt [--schedule 1x8,4x2]
"""

from collections.abc import Iterator
from math import cos, pi
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from spikingjelly.activation_based import functional
from torch import Tensor

from benchmarks.trained.networks import NETWORKS, frames
from neuromorphic.errors import RefusedInput
from neuromorphic.files import atomic, check_outputs
from spikeclip.batches import augmented, draw
from spikeclip.console import console, refusals
from spikeclip.data import ImageSet, load_images

BATCH, RATE, SIZE = 64, 2e-3, 32


def main(
    network: Annotated[str, typer.Argument(help=f"Which: {', '.join(NETWORKS)}.")],
    data: Annotated[str, typer.Option(help="Training images, as cifar10:DIR:train.")],
    test: Annotated[str, typer.Option(help="Test images, as cifar10:DIR:test.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Weights and the run's state.")],
    schedule: Annotated[str, typer.Option(help="TIME_STEPSxEPOCHS, one after another.")] = "1x8,4x2",
    limit: Annotated[int | None, typer.Option(min=1, help="Images of each set.")] = None,
) -> None:
    """Train with AdamW, and a cosine over all epochs."""
    with refusals():
        if network not in NETWORKS:
            raise RefusedInput(f"network {network!r}: expected one of {', '.join(NETWORKS)}")
        check_outputs({"-o": output})
        train, held_out = load_images(data, SIZE, limit), load_images(test, SIZE, limit)
    pairs = [tuple(map(int, pair.split("x"))) for pair in schedule.split(",")]
    steps_of = [steps for steps, epochs in pairs for _ in range(epochs)]
    torch.manual_seed(0)
    net: Any = NETWORKS[network]()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.05)
    parts, done = {"weights": net, "optimiser": optimiser}, 0
    if output.exists():
        state = torch.load(output, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        done = state["epochs"]
    for epoch in range(done, len(steps_of)):
        net.steps = steps_of[epoch]
        losses = []
        for i, batch in enumerate(_batches(train, epoch)):
            passed = (epoch + i * BATCH / len(train)) / len(steps_of)
            losses.append(_step(net, optimiser, RATE * (1 + cos(pi * passed)) / 2, *batch))
        console.print(
            f"epoch {epoch + 1}: T {net.steps}, loss {np.mean(losses):.3f}, test {100 * accuracy(net, held_out):.2f} %"
        )
        with atomic(output) as file:
            state = {name: part.state_dict() for name, part in parts.items()}
            torch.save({"network": network, "epochs": epoch + 1, **state}, file)


def _batches(images: ImageSet, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    rng = np.random.default_rng(epoch)
    order = rng.permutation(len(images))
    pixels, labels = torch.from_numpy(images.images), torch.from_numpy(images.labels)
    for start in range(0, len(order) - BATCH + 1, BATCH):
        which = torch.from_numpy(order[start : start + BATCH])
        seen = augmented(pixels, which, draw(BATCH, SIZE, rng))
        yield torch.from_numpy(frames(seen.numpy())), labels[which]


def _step(net: torch.nn.Module, optimiser: torch.optim.Optimizer, rate: float, x: Tensor, labels: Tensor) -> float:
    net.train()
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss = torch.nn.functional.cross_entropy(net(x), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    functional.reset_net(net)
    return float(loss.detach())


@torch.no_grad()
def accuracy(net: torch.nn.Module, images: ImageSet, batch: int = 250) -> float:
    """Share of the images that the network labels right."""
    net.eval()
    right = 0
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        found = net(torch.from_numpy(frames(images.images[part]))).argmax(1).numpy()
        functional.reset_net(net)
        right += int((found == images.labels[part]).sum())
    return right / len(images)


if __name__ == "__main__":
    typer.run(main)
