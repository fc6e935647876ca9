"""SpikingJelly 2.0.0, with nir 1.0.8 and nirtorch 2.6."""

import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir

from writers import inputs, keep, snapped, stepped


def write(folder):
    def run(name, net, *shape):
        # It fires at the threshold, NIR above it: thresholds here are no multiples of what membranes are.
        net, frames = snapped(net), inputs(*shape)
        functional.reset_net(net)
        outputs = stepped(net, frames)
        functional.reset_net(net)
        keep(folder, f"spikingjelly_{name}", export_to_nir(net, torch.from_numpy(frames[:, 0])), frames, outputs)

    run(
        "conv",
        torch.nn.Sequential(
            layer.Conv2d(2, 4, 3, padding=1),
            neuron.LIFNode(tau=2.0, v_threshold=0.5001),
            layer.AvgPool2d(2, 2),
            neuron.IFNode(v_threshold=0.3001),
            layer.Flatten(),
            layer.Linear(64, 5),
            neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=0.7001, v_reset=0.25),
        ),
        2, 8, 8,
    )  # fmt: skip
    run(
        "cuba",
        torch.nn.Sequential(
            layer.Conv1d(2, 4, 3, stride=2),
            neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=0.4001, v_reset=0.0),
            layer.Flatten(),
            layer.Linear(16, 3, bias=False),
            neuron.IFNode(v_threshold=0.1001, v_reset=0.0),
        ),
        2, 9,
    )  # fmt: skip
