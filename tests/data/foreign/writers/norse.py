"""Norse 1.1.0, with nir 1.0.8 and nirtorch 2.6."""

import norse.torch as norse
import torch

from writers import inputs, keep, snapped

DT = 0.001
READ_AT = 1e-6
"""It writes tau = dt / tau_mem_inv, with its dt of 1e-3 s, where 1 / tau_mem_inv is meant."""


def full(value, *shape):
    return torch.full(shape, value)


def box(*shape):
    parameters = norse.LIFBoxParameters(
        tau_mem_inv=full(0.5 / DT, *shape),
        v_leak=full(0.0, *shape),
        v_th=full(0.4001, *shape),
        v_reset=full(0.0, *shape),
    )
    return norse.LIFBoxCell(parameters, dt=DT)


def write(folder):
    def run(name, net, dt, *shape):
        net, frames = snapped(net), inputs(*shape)
        outputs = []
        for image in torch.from_numpy(frames):
            state, answers = None, []
            for x in image:
                y, state = net(x[None], state)
                answers.append(y[0])
            outputs.append(torch.stack(answers))
        graph = norse.to_nir(net, torch.from_numpy(frames[0, 0]))
        # It leaves the shape that a convolution reads open, which no nir writes; snnTorch calls this itself.
        graph.infer_types()
        keep(folder, f"norse_{name}", graph, frames, torch.stack(outputs).detach(), dt)

    linear, conv = torch.nn.Linear, torch.nn.Conv2d
    readout = norse.LIBoxParameters(tau_mem_inv=full(0.25 / DT, 3), v_leak=full(0.125, 3))
    run(
        "lif_li",
        norse.SequentialState(linear(6, 5), box(5), linear(5, 3), norse.LIBoxCell(readout, dt=DT)),
        READ_AT,
        6,
    )
    run("conv", norse.SequentialState(conv(2, 4, 3), box(4, 4, 4), conv(4, 4, 2, groups=2)), READ_AT, 2, 6, 6)
    # r = 1, and its input is not multiplied by dt.
    counting = norse.IAFParameters(v_th=full(0.5001, 5), v_reset=full(0.0, 5))
    run("iaf", norse.SequentialState(linear(6, 5, bias=False), norse.IAFCell(counting)), 1.0, 6)
    cuba = norse.LIFParameters(
        tau_syn_inv=full(0.5 / DT, 5), tau_mem_inv=full(0.25 / DT, 5), v_leak=full(0.0, 5), v_th=full(0.1001, 5)
    )
    run("cuba", norse.SequentialState(linear(6, 5), norse.LIFCell(cuba, dt=DT), linear(5, 3)), READ_AT, 6)
