"""The files that readers are given: shipped encoders, untrained ones, expanded attention, quantised weights."""

from collections.abc import Iterator
from pathlib import Path

import export
import neuromorphic
import spikeclip
from benchmarks.random_checkpoint import random_checkpoint
from neuromorphic.loihi2.file import write_quantised
from neuromorphic.loihi2.quantise import calibrate
from neuromorphic.reading.read import read_graph
from spikeclip.config import preset
from spikeclip.data import load_images


def files(folder: Path, images: str) -> Iterator[tuple[str, Path]]:
    """The content of each file in words, and its path, written to `folder` when asked for.

    Args:
        folder: to write to.
        images: SPEC of images for the statistics of untrained encoders and for quantising.
    """
    for name in ("spike-driven-small", "paper-small"):
        path = folder / f"{name}.nir"
        export.write(export.prepare(spikeclip.load(name)).graph, path)
        yield name, path
    for name, standard_nodes in (("spike-driven-tiny", False), ("paper-tiny", True)):
        path = folder / f"{name}.nir"
        checkpoint = random_checkpoint(name, load_images(images, preset(name).image_size, 8).images)
        export.write(export.prepare(checkpoint, standard_nodes=standard_nodes).graph, path)
        yield f"{name}, untrained{', --standard-nodes' if standard_nodes else ''}", path
    model, path = folder / "spike-driven-small.nir", folder / "quantised.nir"
    graph = read_graph(model)
    size = preset("spike-driven-small").image_size
    rounded, scheme = calibrate(graph, neuromorphic.encode(graph, load_images(images, size, 16).images))
    write_quantised(model, rounded, scheme, path)
    yield "spike-driven-small, quantised", path
