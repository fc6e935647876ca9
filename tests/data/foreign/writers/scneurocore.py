"""SC-NeuroCore 3.16.0, with nir 1.0.8: its nodes are NIR's primitives one by one, in numpy."""

from itertools import pairwise

import numpy as np
from sc_neurocore.nir_bridge import node_map as nodes
from sc_neurocore.nir_bridge import to_nir
from sc_neurocore.nir_bridge.parser import SCNetwork, SCSubgraphNode

from writers import inputs, keep, weights

DT = 1e-4


def full(size, value):
    return np.full(size, value, np.float32)


def leaky(name, size, threshold):
    tau, zero = full(size, 2 * DT), full(size, 0.0)
    return nodes.SCLIFNode(name, size, tau, full(size, 1.0), zero, full(size, threshold), zero, dt=DT)


def network(layers, inside, outside, edges=None):
    """A chain of `layers`, or the `edges` given, between an input and an output."""
    every = [nodes.SCInputNode("input", inside), *layers, nodes.SCOutputNode("output", outside)]
    names = [node.name for node in every]
    return SCNetwork(dict(zip(names, every, strict=True)), edges or list(pairwise(names)), ["input"], ["output"])


def write(folder):
    def run(name, net):
        frames = inputs(*net.nodes["input"].shape)
        outputs = []
        for image in frames:
            net.reset()
            outputs.append([net.step({"input": x})["output"] for x in image])
        keep(folder, f"scneurocore_{name}", to_nir(net), frames, outputs, DT)

    one, rate = full(5, 1.0), full(5, 1 / DT)
    cuba = (full(5, 2 * DT), full(5, 4 * DT), 2 * one, 0 * one)
    run(
        "spiking",
        network(
            [
                nodes.SCAffineNode("affine", weights(0, 5, 6), weights(1, 5)),
                leaky("lif", 5, 0.3001),
                nodes.SCDelayNode("delay", np.arange(5) % 3, (np.arange(5) % 3) * DT),
                nodes.SCScaleNode("scale", weights(2, 5) + 1),
                nodes.SCIFNode("if", 5, rate, full(5, 0.7001), 0 * one, dt=DT),
                nodes.SCLinearNode("linear", weights(3, 5, 5)),
                nodes.SCCubaLIFNode("cuba_lif", 5, *cuba, full(5, 0.2001), 0 * one, 2 * one, dt=DT),
            ],
            (6,),
            (5,),
        ),
    )
    run(
        "membranes",
        network(
            [
                nodes.SCLinearNode("linear", weights(0, 5, 6)),
                nodes.SCIntegratorNode("i", rate, dt=DT),
                nodes.SCThresholdNode("threshold", full(5, 0.5001)),
                nodes.SCAffineNode("affine", weights(1, 5, 5), weights(2, 5)),
                nodes.SCCubaLINode("cuba_li", 5, *cuba, 2 * one, dt=DT),
                nodes.SCLINode("li", 5, full(5, 2 * DT), one, full(5, 0.25), dt=DT),
            ],
            (6,),
            (5,),
        ),
    )
    run(
        "conv",
        network(
            [
                nodes.SCConv2dNode("conv", weights(0, 4, 2, 3, 3), weights(1, 4), (1, 1), (1, 1), (1, 1), 1, (8, 8)),
                nodes.SCAvgPool2dNode("average", (2, 2), (2, 2), (0, 0)),
                nodes.SCSumPool2dNode("sum", (2, 2), (1, 1), (0, 0)),
            ],
            (2, 8, 8),
            (4, 3, 3),
        ),
    )
    run(
        "conv1d",
        network([nodes.SCConv1dNode("conv", weights(0, 4, 2, 3), weights(1, 4), 2, 0, 1, 1, 9)], (2, 9), (4, 4)),
    )
    around = network(
        [leaky("lif", 5, 0.3001), nodes.SCLinearNode("w_rec", weights(7, 5, 5))],
        (5,),
        (5,),
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    affine = nodes.SCAffineNode("affine", weights(0, 5, 6), weights(1, 5))
    run("recurrent", network([affine, SCSubgraphNode("layer", around)], (6,), (5,)))
