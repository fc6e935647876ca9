"""The folder that is handed over: `network.py`, `weights.npz`, `expected.npz` and `README.md`.

`expected.npz` holds the results of the fast executor, in Lava's order of axes:

    frames                      int8 [N, T, W, H, C]
    spikes NAME, v NAME         packed bits [N, T, ...] of a population, and its v after the last step, int32
    outputs, constant, sums ... outputs, and the numbers from which the host computes them
    counted, counts             names and numbers of synaptic operations, neuron updates and spikes per image
"""

from collections import Counter
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.deploy.plan import FRAMES, Plan, to_lava
from neuromorphic.deploy.program import program, rendered
from neuromorphic.errors import RefusedInput
from neuromorphic.files import check_folder, write_bytes, write_text
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace
from neuromorphic.ops.widths import GRADED_BITS

FILES = ("network.py", "weights.npz", "expected.npz", "README.md")


def check_own_folder(folder: Path) -> None:
    """Refuse a place where the folder can't be made.

    Raises:
        RefusedInput: as of `files.check_folder`, or a folder is there with other files than this writes.
    """
    check_folder("-o", folder)
    held = sorted(folder.iterdir()) if folder.is_dir() else []
    if others := [path.name for path in held if path.name not in FILES or not path.is_file()]:
        raise RefusedInput(f"-o {folder}: holds {', '.join(others[:4])}; expected a folder of its own")


def write_folder(folder: Path, graph: Graph, plan: Plan, frames: NDArray[np.float32], trace: Trace) -> None:
    """Write all files into a folder that was checked before.

    Args:
        folder: to be made, if it isn't there.
        graph: of integers.
        plan: of the graph.
        frames: of the run, `[N, T, *input shape]`.
        trace: of the run.

    Raises:
        RefusedInput: the system refuses.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RefusedInput(f"-o {folder}: can't be made ({error.strerror})") from error
    spikes_only = bool(np.isin(frames, (0, 1)).all())
    title = Path(graph.source).stem
    bits = 0 if spikes_only else GRADED_BITS
    counts = counted(plan, graph, frames, trace)
    _write_arrays(folder / "weights.npz", _weights(plan))
    _write_arrays(folder / "expected.npz", _expected(graph, plan, frames, trace, counts))
    write_text(folder / "network.py", program(plan, title, trace.time_steps, bits))
    write_text(folder / "README.md", readme(plan, title, trace, counts))


def _write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getbuffer())


def _weights(plan: Plan) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for population in plan.populations:
        found |= population.arrays
        for synapses in population.synapses:
            found |= synapses.arrays
    return found


def _expected(
    graph: Graph, plan: Plan, frames: NDArray[np.float32], trace: Trace, counts: dict[str, float]
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"frames": to_lava(frames.astype(np.int8), len(plan.input_shape))}
    for population in plan.populations:
        axes = len(population.shape)
        sent = to_lava(trace.spikes[population.name].unpack(), axes)
        found[f"spikes {population.name}"] = np.packbits(sent.reshape(*sent.shape[:2], -1), axis=-1)
        found[f"v {population.name}"] = to_lava((trace.membranes or {})[population.name], axes)
    found["labels"] = np.array(graph.metadata.label_names, dtype=np.str_)
    found["counted"], found["counts"] = np.array(list(counts)), np.array(list(counts.values()))
    if plan.sums is not None:
        for name, sums in plan.sums.items():
            found |= {f"sums {name} {part}": getattr(sums, part) for part in ("data", "indices", "indptr")}
        outputs = trace.outputs.reshape(*trace.outputs.shape[:2], -1)
        readout = trace.readout
        weights = np.full(trace.time_steps, 1 / trace.time_steps) if readout is None else readout.time_weights
        bias = np.zeros(1) if readout is None or not readout.bias.size else readout.bias
        found |= {"constant": plan.constant, "outputs": outputs, "time_weights": weights, "bias": bias}
    return found


def counted(plan: Plan, graph: Graph, frames: NDArray[np.float32], trace: Trace) -> dict[str, float]:
    """Synaptic operations, neuron updates and spikes per image, over all processes of the plan, relays included."""
    arriving = {FRAMES: (frames != 0).reshape(*frames.shape[:2], -1).sum((0, 1), dtype=np.int64)}
    sent = {name: train.unpack().reshape(*frames.shape[:2], -1) for name, train in trace.spikes.items()}
    arriving |= {name: spikes.sum((0, 1), dtype=np.int64) for name, spikes in sent.items()}
    neurons = sum(prod(population.shape) for population in plan.populations)
    operations = 0
    spikes = sum(int(arriving[name].sum()) for name in sent)
    for population in plan.populations:
        for relay in population.relays:
            arriving[relay.name] = arriving[relay.source]
            operations += int(arriving[relay.source].sum())
            spikes += int(arriving[relay.source].sum())
            neurons += prod(relay.shape)
        operations += sum(int(arriving[each.source] @ each.fan_out) for each in population.synapses)
    images = trace.images
    return {
        "synaptic operations": operations / images,
        "neuron updates": float(neurons * trace.time_steps),
        "spikes": spikes / images,
    }


def readme(plan: Plan, title: str, trace: Trace, counts: dict[str, float]) -> str:
    """The text of `README.md`."""
    relays = [relay for population in plan.populations for relay in population.relays]
    synapses = [each for population in plan.populations for each in population.synapses]
    kinds = Counter(LIFReset=len(plan.populations))
    kinds.update(each.kind if each.kind == "Conv" or not each.wait else f"Delay{each.kind}" for each in synapses)
    for relay in relays:
        kinds.update(("DelaySparse" if relay.wait > 1 else "Sparse", "LIF"))
    steps = trace.time_steps
    return rendered(
        "README.md.j2",
        title=title,
        images=trace.images,
        steps=steps,
        power_of_two=not steps & (steps - 1),
        depth=plan.depth,
        kinds=kinds.most_common(),
        neurons=sum(prod(population.shape) for population in plan.populations),
        repeated=sum(prod(relay.shape) for relay in relays),
        relays=len(relays),
        waits=bool(relays),
        resets_each_step=any("reset_interval" in population.settings for population in plan.populations),
        has_sums=plan.sums is not None,
        unproven=plan.unproven,
        counts=counts,
    )
