"""Sinabs 3.1.3, with nir 1.0.4, which it pins, and nirtorch 2.0.2: 2.6 asks for a newer nir."""

import torch
from sinabs import layers
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import to_nir

from writers import STEPS, inputs, keep, snapped

# NIR has no other: its neurons spike once in a step and reset hard.
COMMON = {"num_timesteps": STEPS, "spike_fn": SingleSpike, "reset_fn": MembraneReset(), "min_v_mem": None}


def counting(threshold):
    return layers.IAFSqueeze(spike_threshold=torch.tensor(threshold), **COMMON)


def write(folder):
    def run(name, net, *shape):
        frames = inputs(*shape)
        squeezed = torch.from_numpy(frames.reshape(-1, *shape))
        frozen = [module for module in net.modules() if isinstance(module, layers.StatefulLayer)]
        kept = [{key: value.clone() for key, value in module.named_parameters()} for module in frozen]
        snapped(net)
        for module, parameters in zip(frozen, kept, strict=True):
            for key, value in parameters.items():
                getattr(module, key).data = value
        with torch.no_grad():
            outputs = net(squeezed)
        outputs = outputs.reshape(len(frames), STEPS, *outputs.shape[1:]).numpy()
        graph = to_nir(net, squeezed[:STEPS])
        # It leaves the shape that a convolution reads open, which no nir writes; snnTorch calls this itself.
        graph.infer_types()
        # Its time constants are in steps, and so is what is written.
        keep(folder, f"sinabs_{name}", graph, frames, outputs, dt=1.0)

    run(
        "conv",
        torch.nn.Sequential(
            torch.nn.Conv2d(2, 4, 3, padding=1),
            counting(0.7001),
            layers.SumPool2d((2, 2)),
            torch.nn.Conv2d(4, 4, 2, groups=2),
            counting(1.1001),
            torch.nn.Flatten(),
            torch.nn.Linear(16, 3),
            counting(0.9001),
        ),
        2, 6, 6,
    )  # fmt: skip
    run("conv1d", torch.nn.Sequential(torch.nn.Conv1d(2, 4, 3, stride=2), counting(0.6001)), 2, 9)
    tau, threshold = torch.full((5,), 2.0), torch.full((5,), 0.5001)
    run(
        "leaky",
        torch.nn.Sequential(
            torch.nn.Linear(6, 5),
            layers.LIFSqueeze(tau_mem=tau, spike_threshold=threshold, norm_input=False, **COMMON),
            torch.nn.Linear(5, 3, bias=False),
            layers.ExpLeakSqueeze(tau_mem=torch.full((3,), 4.0), num_timesteps=STEPS),
        ),
        6,
    )
