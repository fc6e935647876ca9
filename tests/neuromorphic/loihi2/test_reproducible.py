"""Quantisation gives the same integers on every processor."""

import os
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np

from tests.neuromorphic.graphs import chain, conv, lif

RECIPE = """
import hashlib, sys
import numpy as np
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.reading.read import read_graph

graph, _ = quantise(read_graph(sys.argv[1]), np.load(sys.argv[2]))
numbers = hashlib.sha256()
for node in graph.nodes.values():
    for key, value in vars(node.operation).items():
        numbers.update(f"{node.name} {key} {np.asarray(value).tolist()}".encode())
print(numbers.hexdigest())
"""


def test_the_integers_do_not_depend_on_the_order_in_which_a_processor_sums(tmp_path):
    """OpenBLAS adds in another order on every kind of processor; it can be told to be on another one."""
    rng = np.random.default_rng(0)
    nodes = {"conv": conv(rng.normal(size=(64, 8, 3, 3)), rng.normal(size=64), padding=1, hw=(12, 12))}
    nodes |= {"lif": lif((64, 12, 12), 2.0), "again": conv(rng.normal(size=(32, 64, 3, 3)), padding=1, hw=(12, 12))}
    nodes |= {"last": lif((32, 12, 12), 5.0)}
    nir.write(tmp_path / "net.nir", chain(nodes, (8, 12, 12), (32, 12, 12)))
    np.save(tmp_path / "frames.npy", rng.normal(size=(24, 8, 12, 12)).astype(np.float32))
    found = []
    for kernel in ("", "Haswell", "Sandybridge"):  # one that it doesn't know, as elsewhere, changes nothing
        environment = {**os.environ, "OPENBLAS_CORETYPE": kernel} if kernel else os.environ
        command = [sys.executable, "-c", RECIPE, tmp_path / "net.nir", tmp_path / "frames.npy"]
        root = Path(__file__).parents[3]
        found.append(
            subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True).stdout
        )
    assert len(found[0]) > 60
    assert found[0] == found[1] == found[2]
