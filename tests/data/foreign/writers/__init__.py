"""One module per library, whose `write(folder)` keeps a `.nir` file and an `.npz` per network.

`NAME.npz` holds `frames` `[N, T, ...]`, `outputs` `[N, T, ...]` of the library's own run, and `dt`, the seconds per
time step that the file was written for.
"""

import inspect

import nir
import numpy as np

IMAGES, STEPS = 4, 8

# HDF5 pads compressed arrays to a chunk, which makes files of small ones three times as long; nir 1.0.4 always does.
PLAIN = {"compression": None} if "compression" in inspect.signature(nir.write).parameters else {}


def keep(folder, name, graph, frames, outputs, dt=1e-4):
    nir.write(folder / f"{name}.nir", graph, **PLAIN)
    np.savez_compressed(
        folder / f"{name}.npz",
        frames=np.asarray(frames, np.float32),
        outputs=np.asarray(outputs, np.float32),
        dt=dt,
    )


def inputs(*shape):
    """Multiples of 1/8."""
    return (np.random.default_rng(0).integers(-8, 9, (IMAGES, STEPS, *shape)) / 8).astype(np.float32)


def weights(seed, *shape):
    """Multiples of 1/16: no sum of their products with `inputs` or spikes rounds."""
    return (np.random.default_rng(seed).integers(-16, 17, shape) / 16).astype(np.float32)


def snapped(module):
    """A torch module whose weights are such multiples."""
    for seed, parameter in enumerate(module.parameters()):
        parameter.data = parameter.new_tensor(weights(seed, *parameter.shape)) / 2
    return module


def stepped(step, frames):
    """The answers of `step`, a function of a torch batch, to `[N, T, ...]`."""
    import torch

    with torch.no_grad():
        return torch.stack([step(torch.from_numpy(frames[:, t])) for t in range(STEPS)], 1).numpy()
