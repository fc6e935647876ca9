"""Metadata of a module's graph, under the key and in the format of `export.metadata`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, assert_never

from export.frontend.inputs import Inputs
from export.frontend.lowering import Lowering
from export.frontend.nodes import (
    Attention,
    Both,
    ButNot,
    Frames,
    MaxWindows,
    Or,
    Population,
    Relay,
    Scaled,
    SumWindows,
    Weighted,
)
from export.frontend.proof import Proven
from export.metadata import FORMAT, LIBRARIES, extensions, producer, stated, versions
from export.populations import DT
from neuromorphic.ir.metadata import FORMAT_VERSION, KEY, Readout


def of(
    proven: Proven, inputs: Inputs, readout: Readout | None, notes: tuple[str, ...], groups: Mapping[str, int]
) -> dict[str, str]:
    """The metadata of a graph: `{"spikeclip": JSON}`.

    Args:
        proven: the graph, its grids and its certificate.
        inputs: what it reads.
        readout: what the host does with the outputs; None for nothing.
        notes: what was rewritten or assumed.
        groups: of the convolutions whose kernels are block-diagonal, by node.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dt": DT,
        "time_steps": proven.certificate.time_steps,
        "input": inputs.to_dict(),
        "input_kind": inputs.kind,
        "input_bits": inputs.bits,
        "groups": dict(groups),
        "layers": layers_of(proven.lowering),
        "grids": {name: asdict(grid) for name, grid in proven.grids.items()},
        "certificate": proven.certificate.to_dict(),
        "producer": producer(),
        "versions": versions(*LIBRARIES),
        "extensions": list(extensions(proven.graph)),
        "notes": list(notes),
    }
    if readout is not None:
        document["readout"] = stated(readout)
    return {KEY: json.dumps(document, allow_nan=False)}


def layers_of(lowering: Lowering) -> list[str]:
    """The nodes that multiply as the module does: its ANN has them too, unlike sums, choices and parts of neurons."""
    found = []
    for index, name in lowering.names.items():
        match lowering.context.nodes[index].operation:
            case Weighted(fixed=False) | Scaled() | Attention():
                found.append(name)
            case Population(neurons=neurons):
                found += [] if neurons.recurrence is None else [f"{name}.recurrent"]
            case Weighted() | SumWindows() | MaxWindows() | Or() | Relay() | Both() | ButNot() | Frames():
                pass
            case unknown:
                assert_never(unknown)
    return found
