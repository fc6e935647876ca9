"""The whole path on sample photographs: a shipped checkpoint to NIR, to Lava, to parity with PyTorch, to operations.

python scripts/demo.py [CHECKPOINT]        (make demo)

Leaves model.nir, trace.h5, parity.json and counts.json in the folder demo/.
"""

import json
import sys
import time
from pathlib import Path

from rich.table import Table

import energy
import export
import neuromorphic
import spikeclip
from export.checking import torch_runner
from neuromorphic.lava.simulation import simulate
from spikeclip.console import console, progress_bar, results
from spikeclip.data import load_images

OUT = Path("demo")


def main(name: str) -> int:
    """Run the path for the checkpoint `name` and print its table; 1 where a spike differs, else 0."""
    start = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    checkpoint = spikeclip.load(name)
    export.write(export.prepare(checkpoint).graph, OUT / "model.nir")
    graph = neuromorphic.read_graph(OUT / "model.nir")
    extensions = graph.metadata.document["extensions"]
    kind = f"NIR, with {' and '.join(extensions)}" if extensions else "standard NIR"
    console.print(f"1. exported {name} to {OUT / 'model.nir'}: {len(graph.nodes)} nodes of {kind}")

    images = load_images("samples", checkpoint.config.image_size)
    frames = neuromorphic.encode(graph, images.images)
    with progress_bar("2. Lava") as advance:
        trace = simulate(graph, frames, progress=advance)
    trace.write(OUT / "trace.h5")
    console.print(f"2. simulated {len(images)} photographs in Lava, {trace.time_steps} time steps each")

    report = neuromorphic.compare(trace, torch_runner(name, graph, graph).run(frames))
    (OUT / "parity.json").write_text(json.dumps(report.to_dict(), indent=2) + "\n")
    console.print("3. compared every spike with the PyTorch (SpikingJelly) model")

    counts = energy.count(graph, trace)
    devices = energy.read_devices(energy.SHIPPED)
    priced = energy.assemble(graph, counts, devices, energy.provenance(graph), trace.producer)
    (OUT / "counts.json").write_text(priced.model_dump_json(indent=2) + "\n")
    console.print("4. counted every operation\n")

    table = Table(box=None, pad_edge=False)
    for column, justify in (("photograph", "left"), ("prediction", "left"), ("SOPs", "right")):
        table.add_column(column, justify=justify)
    for file, prediction, sops in zip(images.names, trace.predictions, counts.per_image, strict=True):
        table.add_row(file, checkpoint.label_names[prediction], f"{sops:,}")
    results.print(table)
    results.print(
        f"\nspikes compared    {report.spikes_compared:,}\nmismatches         {report.mismatches:,}\n"
        f"SNN, per image     {counts.sops / len(images):,.0f} SOPs + {counts.macs / len(images):,.0f} MACs"
    )
    if counts.ann is not None:
        results.print(f"ANN, per image     {counts.ann.macs / len(images):,.0f} MACs")
    results.print(
        f"\nThe encoder knows the ten classes of CIFAR-10, so most of these photographs are none of its own.\n"
        f"{time.perf_counter() - start:.0f} s; files are in {OUT}/"
    )
    return 0 if report.exact else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "spike-driven-small"))
