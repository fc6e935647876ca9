"""`python -m benchmarks.trained`: a trained network as it was, folded, snapped and in integers, on the same images.

Its own float32 code labels the images, then the graph whose normalisations are folded into weights, then the one whose
weights are snapped too, and the chip's integers, quantised on training images without labels.  Every spike of the
module with the snapped weights is compared with the graph's, and integers with Lava's on the first images.

python -m benchmarks.trained sew.pt --images cifar10:DIR:test --calibrate cifar10:DIR:train --limit 2000
"""

from copy import deepcopy
from pathlib import Path
from typing import Annotated

import nir
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import nn

from benchmarks.trained.networks import LEVELS, NETWORKS, TIME_STEPS, frames
from export.frontend.axes import Axes
from export.frontend.door import PreparedModule, to_nir
from export.frontend.interpreter import interpret
from export.frontend.lowering import lower
from export.frontend.output import add_output
from export.frontend.parity import compare_module
from export.frontend.recording import rest
from export.frontend.tracing import trace
from neuromorphic.execution.fast import run_in_batches
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import compare
from neuromorphic.lava.simulation import simulate
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from spikeclip.console import console, refusals, results
from spikeclip.data import load_images

EXAMPLE = torch.zeros(2, 3, 32, 32)
BATCH = 50
SETTINGS = {"time_steps": TIME_STEPS, "axes": "BCHW"}


def main(
    weights: Annotated[Path, typer.Argument(help="What benchmarks.trained.train wrote.")],
    images: Annotated[str, typer.Option(help="Images with labels, as cifar10:DIR:test.")],
    calibrate: Annotated[str, typer.Option(help="Images to quantise on, as cifar10:DIR:train.")],
    limit: Annotated[int, typer.Option(min=1, help="Images.")] = 2000,
    lava: Annotated[int, typer.Option(min=1, help="Images through Lava.")] = 32,
    calibration: Annotated[int, typer.Option(min=1, help="Images to quantise on.")] = 64,
) -> None:
    """Print the accuracy of every stage, and the spikes that were compared."""
    with refusals():
        held_out, training = load_images(images, 32, limit), load_images(calibrate, 32, calibration)
        state = torch.load(weights, weights_only=True)
        net = NETWORKS[state["network"]]()
        net.load_state_dict(state["weights"])
        net.eval()
        x = frames(held_out.images)
        prepared = to_nir(net, EXAMPLE, bounds=(-128 / LEVELS, 127 / LEVELS), **SETTINGS)
        graph = from_nir(prepared.graph, weights.name)
        whole, _ = quantise(graph, frames(training.images))
        pixels = x * LEVELS  # what the integers read
        snapped, integers = run_in_batches(graph, x, batch=BATCH), run_in_batches(whole, pixels, batch=BATCH)
        stages = {
            "original": original(net, x),
            "folded": run_in_batches(folded(net, prepared), x, batch=BATCH).predictions,
            "snapped": snapped.predictions,
            "integers": integers.predictions,
        }
        for stage, predictions in stages.items():
            right, same = predictions == held_out.labels, predictions == stages["original"]
            results.print(f"{stage:<10} {100 * right.mean():.2f} %, as the original {100 * same.mean():.2f} %")
        results.print(f"rungs      {prepared.certificate.rungs}")
        console.print("the module's own code, spike by spike")
        found = compare_module(prepared, snapped, prepared.record(x, batch=BATCH))
        results.print(f"module     {found.spikes_compared:,} spikes, {found.mismatches} different")
        for precision, each, shown in (("float", graph, x[:lava]), ("loihi2", whole, pixels[:lava])):
            report = compare(simulate(each, shown, precision=precision), run_in_batches(each, shown))
            results.print(f"Lava       {precision}: {report.spikes_compared:,} spikes, {report.mismatches} different")
        results.print(f"cores      {len(place(whole).cores)}")


@torch.no_grad()
def original(net: nn.Module, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Predictions of the untouched network, in float32."""
    found = []
    for start in range(0, len(x), BATCH):
        rest(net)
        found.append(net(torch.from_numpy(x[start : start + BATCH])).argmax(1).numpy())
    rest(net)
    return np.concatenate(found)


def folded(net: nn.Module, prepared: PreparedModule) -> Graph:
    """The graph of a network before its weights are snapped."""
    context, result = interpret(trace(deepcopy(net), EXAMPLE), Axes("BCHW"), TIME_STEPS)
    lowering = lower(context, result)
    add_output(lowering, result)
    graph = nir.NIRGraph(lowering.nodes, lowering.edges, metadata=prepared.graph.metadata)
    return from_nir(graph, "folded")


if __name__ == "__main__":
    typer.run(main)
