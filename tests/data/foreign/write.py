"""Writes the files beside it: small networks of other libraries, by their own exporters, and what they answer there.

    python write.py spikingjelly|snntorch|norse|nirtorch FOLDER

Each library in an environment that has it: SpikingJelly 2.0.0, snnTorch 1.0.0, Norse 1.1.0 and nirtorch 2.6 wrote those
that are kept.  `NAME.npz` holds `frames` `[N, T, ...]`, and `outputs` `[N, T, ...]` of the library's own run.
"""

import sys
from pathlib import Path

import nir
import numpy as np
import torch

IMAGES, STEPS = 4, 8


def keep(folder, name, graph, frames, outputs):
    nir.write(folder / f"{name}.nir", graph)
    np.savez_compressed(folder / f"{name}.npz", frames=frames.numpy(), outputs=outputs.numpy())


def snapped(module):
    """Multiples of 1/16: no sum of them rounds."""
    for parameter in module.parameters():
        parameter.data = (parameter.data * 32).round() / 16
    return module


def inputs(*shape):
    return (torch.randint(-8, 9, (IMAGES, STEPS, *shape)) / 8).float()


def stepped(step, frames):
    return torch.stack([step(frames[:, t]) for t in range(STEPS)], 1).detach()


def spikingjelly(folder):
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    def run(name, net, *shape):
        # It fires at the threshold, NIR above it: thresholds here are no multiples of what membranes are.
        net, frames = snapped(net), inputs(*shape)
        functional.reset_net(net)
        outputs = stepped(net, frames)
        functional.reset_net(net)
        keep(folder, f"spikingjelly_{name}", export_to_nir(net, frames[:, 0]), frames, outputs)

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


def snntorch(folder):
    import snntorch as snn
    from snntorch.export_nir import export_to_nir

    def run(name, make, *shape):
        net, frames = snapped(make(True)), inputs(*shape)
        graph = export_to_nir(net, frames[:1, 0], ignore_dims=[0])
        stepping = make(False)
        stepping.load_state_dict(net.state_dict(), strict=False)
        keep(folder, f"snntorch_{name}", graph, frames, stepping.over(frames))

    class Net(torch.nn.Module):
        """Linear, neurons, linear, neurons; the exporter takes those that keep their state."""

        def __init__(self, first, second, exported):
            super().__init__()
            self.fc1, self.n1 = torch.nn.Linear(6, 5), first(5, exported)
            self.fc2, self.n2 = torch.nn.Linear(5, 3), second(3, exported)

        def forward(self, x):
            return self.n2(self.fc2(self.n1(self.fc1(x))))

        def over(self, frames):
            return stepped(self, frames)

    # reset_delay=False: NIR resets in the step of the spike; reset_mechanism="zero": NIR has no other.
    common = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}

    def leaky(size, exported):
        return snn.Leaky(beta=torch.full((size,), 0.5), threshold=torch.full((size,), 0.6001), **common)

    def synaptic(size, exported):
        alpha, beta = torch.full((size,), 0.5), torch.full((size,), 0.75)
        return snn.Synaptic(alpha=alpha, beta=beta, threshold=torch.full((size,), 0.8001), **common)

    def recurrent(size, exported):
        settings = {**common, "threshold": torch.full((size,), 0.7001), "linear_features": size}
        return snn.RLeaky(beta=torch.full((size,), 0.5), **settings)

    run("leaky", lambda exported: Net(leaky, synaptic, exported), 6)
    run("recurrent", lambda exported: Net(recurrent, leaky, exported), 6)


def norse(folder):
    import norse.torch as norse_torch

    def run(name, net, step_dt, *shape):
        net, frames = snapped(net), inputs(*shape)
        outputs = []
        for image in frames:
            state, answers = None, []
            for x in image:
                y, state = net(x[None], state)
                answers.append(y[0])
            outputs.append(torch.stack(answers))
        keep(folder, f"norse_{name}", norse_torch.to_nir(net, frames[0, 0]), frames, torch.stack(outputs).detach())

    def full(size, value):
        return torch.full((size,), value)

    dt = 0.001
    lif = norse_torch.LIFBoxParameters(
        tau_mem_inv=full(5, 0.5 / dt), v_leak=full(5, 0.0), v_th=full(5, 0.4001), v_reset=full(5, 0.0)
    )
    li = norse_torch.LIBoxParameters(tau_mem_inv=full(3, 0.25 / dt), v_leak=full(3, 0.125))
    run(
        "lif_li",
        norse_torch.SequentialState(
            torch.nn.Linear(6, 5),
            norse_torch.LIFBoxCell(lif, dt=dt),
            torch.nn.Linear(5, 3),
            norse_torch.LIBoxCell(li, dt=dt),
        ),
        dt,
        6,
    )


def nirtorch(folder):
    import nirtorch as library

    class Lif(torch.nn.Module):
        """`v += (x - v) / 2`; spikes above 1/2; hard reset."""

        def __init__(self, size):
            super().__init__()
            self.size, self.v = size, 0.0

        def forward(self, x):
            self.v = self.v + (x - self.v) / 2
            spikes = (self.v > 0.5001).float()
            self.v = self.v * (1 - spikes)
            return spikes

    class Residual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.n1 = torch.nn.Linear(6, 5), Lif(5)
            self.fc2, self.n2 = torch.nn.Linear(5, 5), Lif(5)
            self.fc3 = torch.nn.Linear(5, 3)

        def forward(self, x):
            spikes = self.n1(self.fc1(x))
            return self.fc3(self.n2(self.fc2(spikes) + spikes))

    def written(module):
        size = np.ones(module.size, np.float32)
        return nir.LIF(tau=2e-4 * size, r=size, v_leak=0 * size, v_threshold=0.5001 * size, v_reset=0 * size)

    net, frames = snapped(Residual()), inputs(6)
    graph = library.torch_to_nir(net, {Lif: written})
    keep(folder, "nirtorch_residual", graph, frames, stepped(net, frames))


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    {"spikingjelly": spikingjelly, "snntorch": snntorch, "norse": norse, "nirtorch": nirtorch}[sys.argv[1]](
        Path(sys.argv[2])
    )
