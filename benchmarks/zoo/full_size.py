"""Networks at the sizes that papers train: time and memory of an export, and one image against the network's own code.

python -m benchmarks.zoo.full_size CLONES NAME, one name a process, since memory is that of all it did.
"""

import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from benchmarks.zoo import stand_ins
from export.convert import write
from export.frontend.door import to_nir
from export.frontend.parity import compare_module
from neuromorphic.execution.fast import run_in_batches
from neuromorphic.reading.read import read_graph

TIME_STEPS = 4


def networks(folder: Path) -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    """The function that makes each network, and the shape of an example input."""
    stand_ins.install()
    from spikingjelly.activation_based.model import qkformer, spike_driven_transformer, spikformer

    from benchmarks.zoo.networks import SMALL, public

    wide: dict[str, Any] = {"T": TIME_STEPS, "embed_dims": 384, "num_classes": 10}
    little = {"img_size_h": 32, "img_size_w": 32, "patch_size": 4}
    sizes = {**SMALL, **wide, "num_heads": 8, "depths": 4}
    path = "QKFormer/cifar10/model.py"
    return {
        "Spikformer, 32": (lambda: spikformer.Spikformer(**little, **wide, num_heads=12, depths=4), (2, 3, 32, 32)),
        "QKFormer, 32": (lambda: qkformer.QKFormer(**wide, num_heads=(6, 6, 6), depths=(1, 1, 2)), (2, 3, 32, 32)),
        # one image at a time: docs/frontend.md
        "QKFormer, public, 32": (lambda: public(folder, path).spiking_transformer(**sizes), (1, 3, 32, 32)),
        "Spikformer-6-384, 224": (lambda: spikformer.spikformer_s(T=TIME_STEPS), (2, 3, 224, 224)),
        "QKFormer-10-384, 224": (lambda: qkformer.qkformer_10_384(T=TIME_STEPS), (2, 3, 224, 224)),
        "SDT-8-384, 224": (lambda: spike_driven_transformer.sdt_8_384(T=TIME_STEPS), (2, 3, 224, 224)),
    }


def main(
    folder: Annotated[Path, typer.Argument(help="Clones of the public repositories.")],
    name: Annotated[str, typer.Argument(help="A network.")],
) -> None:
    """Export with proof, write, read, run one image."""
    warnings.simplefilter("ignore")
    known = networks(folder)
    if name not in known:
        raise typer.BadParameter(f"{name!r} is unknown; expected one of {', '.join(map(repr, known))}")
    make, shape = known[name]
    torch.manual_seed(0)
    net = make().eval()
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.weight is not None:
            nn.init.uniform_(part.bias, -0.1, 0.9)  # so that neurons fire
    start = time.process_time()
    prepared = to_nir(net, torch.zeros(shape), time_steps=TIME_STEPS, bounds=(-2.0, 2.0))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "net.nir"
        write(prepared.graph, path)
        _say(name, f"export {time.process_time() - start:.1f} s, {path.stat().st_size / 1e6:.0f} MB written", prepared)
        graph = read_graph(path)
    frames = prepared.inputs.random(1, TIME_STEPS, 0)
    start = time.process_time()
    trace = run_in_batches(graph, frames)
    _say(name, f"fast executor, one image {time.process_time() - start:.1f} s", prepared)
    found = compare_module(prepared, trace, prepared.record(frames, batch=1))
    _say(name, f"{found.spikes_compared:,} spikes compared, {found.mismatches} different", prepared)


def _say(name: str, what: str, prepared: Any) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name}: {what}; peak {peak:,.0f} MB; {prepared.certificate.rungs}", flush=True)


if __name__ == "__main__":
    typer.run(main)
