"""Summaries of a simulation: a table of predictions, and sentences on spikes, parity and cores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from neuromorphic.errors import all_of, number
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import ParityReport
from neuromorphic.ir.totals import Totals
from neuromorphic.loihi2.certificate import WidthCertificate
from neuromorphic.loihi2.scheme import KEY
from neuromorphic.ops import Overflows
from neuromorphic.placement import Placement

ROWS = 12
"""Images in the table."""


def table(
    graph: Graph, totals: Totals, names: Sequence[str], labels: NDArray[np.int64] | None, label_names: Sequence[str]
) -> Table:
    """The predictions for the first images, with their names, and their classes if these are known."""
    classes = graph.metadata.label_names
    found = Table(box=None, pad_edge=False)
    found.add_column("image", overflow="fold")
    found.add_column("prediction" if classes else "largest output", overflow="fold")
    if labels is not None:
        found.add_column("label", overflow="fold")
    for i, prediction in enumerate(totals.answers.predictions[:ROWS]):
        row = [names[i], classes[prediction] if classes else str(prediction)]
        if labels is not None:
            known = label_names or classes
            row.append(known[labels[i]] if known else str(labels[i]))
        found.add_row(*map(escape, row))  # names may look like rich's markup
    return found


def classifies(graph: Graph) -> bool:
    """Whether the output is a vector, whose elements are the scores of classes."""
    return len(graph.nodes[graph.output].shape) == 1


def assumptions(graph: Graph) -> list[str]:
    """Assumptions about a graph, in sentences, and its recurrent edges."""
    lines = list(graph.metadata.assumed)
    if graph.recurrent:
        edges = ", ".join(f"{neuron} -> {reader}" for neuron, reader in sorted(graph.recurrent)[:4])
        more = f" and {len(graph.recurrent) - 4} more" if len(graph.recurrent) > 4 else ""
        lines.append(f"recurrent, one time step late: {edges}{more}")
    return lines


def sentences(totals: Totals, accuracy: float | None, report: ParityReport | None) -> list[str]:
    """Sentences on a run: images, spikes, accuracy, and the comparison with PyTorch."""
    images, steps, populations = totals.answers.images, totals.answers.time_steps, len(totals.counts)
    lines = [f"... and {images - ROWS} more"] if images > ROWS else []
    lines.append(
        f"{number(images, 'image')}, {number(steps, 'time step')}, {number(totals.neurons, 'neuron')} in "
        f"{number(populations, 'population')}: {number(totals.spikes, 'spike')} (rate {totals.rate:.3f})"
    )
    if totals.neurons and not totals.spikes:
        lines.append("nothing spiked in the whole run: are dt, --integrators and the frames what the file means?")
    if accuracy is not None:
        lines.append(f"accuracy {accuracy:.2%} of {number(images, 'image')}")
    if report is None:
        return lines
    if len(report.nodes) < populations:
        apart = populations - len(report.nodes)
        have = "has" if apart == 1 else "have"
        lines.append(f"{number(apart, 'population')} {have} no layer in PyTorch to compare with")
    agree = f"{report.predictions_agree} of {report.images} predictions agree"
    lines.append(
        f"parity with PyTorch: {report.spikes_compared:,} spikes compared, {report.mismatches:,} mismatches; {agree}"
    )
    if report.membranes_compared:
        lines.append(
            f"final membranes: {report.membranes_compared:,} compared, {report.membrane_mismatches:,} mismatches "
            "(0 where a neuron has just fired; a chip reports 128 there: docs/loihi2.md)"
        )
    if report.frames is not None:
        lines.append(f"frames, by the file and by the checkpoint: {report.frames}")
    lines += [f"outputs: {report.outputs}", f"scores: {report.scores}"]
    if report.parameters is not None:
        odd = f"not the checkpoint's: {all_of(report.parameters, '')}" if report.parameters else "the checkpoint's"
        lines.append(f"parameters of the file: {odd}")
    if report.first_mismatch is not None:
        lines.append(f"first mismatch: {report.first_mismatch}")
    return lines


def width_sentences(proof: WidthCertificate, found: Mapping[str, Overflows]) -> list[str]:
    """Sentences on the proof of an integer graph's widths; for populations that could overflow, whether they did."""
    if not proof.unproven:
        populations = number(len(proof.populations), "population")
        return [f"widths: no u wraps and no v saturates in {populations}, whatever the input"]
    lines = []
    for name in proof.unproven:
        wraps, saturations = found[name].wraps, found[name].saturations
        happened = f"{wraps:,} wraps and {saturations:,} saturations" if wraps or saturations else "none did"
        lines.append(f"{proof.populations[name].sentence(name)}; in this run {happened}")
    return lines


def quantisation_sentences(graph: Graph) -> list[str]:
    """Sentences on the effect of quantisation: populations that keep their numbers, and spikes that differ."""
    populations = graph.metadata.document.get(KEY, {}).get("populations", {})
    kept = sum(bool(found.get("as_it_was")) for found in populations.values())
    said = (
        [f"integers: numbers of {kept} of {len(populations)} populations are the chip's already: kept"] if kept else []
    )
    shares = {name: float(found["disagreement"]) for name, found in populations.items()}
    moved = sorted((name for name, share in shares.items() if share), key=lambda name: -shares[name])
    if not moved:
        return [*said, "integers: every spike as in floats, on the calibration frames"] if shares else []
    listed = ", ".join(f"{name} {shares[name]:.1%}" for name in moved[:DISPLACED])
    more = f" and {len(moved) - DISPLACED} more populations" if len(moved) > DISPLACED else ""
    return [
        *said,
        f"integers: neurons and steps that differ from the float graph's, on the calibration frames: {listed}{more}",
    ]


def output_units(graph: Graph) -> dict[str, float]:
    """The unit of each output of an integer graph: the float that 1 stands for; empty for a graph of floats."""
    scheme = graph.metadata.document.get(KEY)
    return {} if scheme is None else {name: float(scheme["units"][name]) for name in graph.outputs}


def unit_sentences(graph: Graph) -> list[str]:
    """A sentence on each unit of an integer graph's outputs that isn't 1."""
    of = {name: f" of {name}" if len(graph.outputs) > 1 else "" for name in graph.outputs}
    return [
        f"outputs{of[name]} are integers: 1 is {unit:.6g} of the float graph's unit"
        for name, unit in output_units(graph).items()
        if unit != 1
    ]


DISPLACED = 4
"""Populations that are listed; those with the most differences come first."""


def core_sentences(placement: Placement) -> list[str]:
    """Sentences on a placement."""
    taken = f"{number(len(placement.cores), 'core')} on {number(placement.chips, 'chip')}"
    used = placement.utilisation()
    activity = placement.measured or placement.full_rate
    time = activity.step_time(placement.neurons, placement.limits)
    busiest = placement.cores[time.busiest]
    how = "as measured" if placement.measured else "if every neuron fired"
    steps = placement.time_steps or 1
    return [
        f"placement: {taken} of Loihi 2, {used['neurons']:.0%} of their neurons and "
        f"{used['memory']:.0%} of their memory in use (--limits {placement.limits.profile}: an estimate, no proof)",
        f"busiest core, {how}: {busiest.population} channels {busiest.channels[0]} to {busiest.channels[1] - 1}, "
        f"{int(activity.operations[time.busiest]) / activity.steps:,.0f} operations per step",
        f"messages to cores, {how}: {int(activity.messages.sum()) / activity.steps * steps:,.0f} per image; at most "
        f"{time.steps_per_second:,.0f} time steps per second (docs/placement.md says what that rests on)",
    ]


def document(graph: Graph, totals: Totals, report: ParityReport | None, accuracy: float | None) -> dict[str, Any]:
    """A run as a JSON-compatible dictionary, with the comparison with PyTorch, if there was one."""
    names, trace, units = graph.metadata.label_names, totals.answers, output_units(graph)
    return {
        "format_version": 1,
        "model": graph.source,
        "producer": trace.producer,
        "precision": trace.precision,
        "images": trace.images,
        "time_steps": trace.time_steps,
        "dt": graph.metadata.dt,
        "predictions": [names[p] if names else int(p) for p in trace.predictions] if classifies(graph) else None,
        "accuracy": accuracy,
        "spikes": {name: count.spikes for name, count in totals.counts.items()},
        **({"outputs": list(graph.outputs)} if len(graph.outputs) > 1 else {}),
        **({} if report is None else report.to_dict()),
        **({} if trace.precision == "float" else {"output_unit": units.get(graph.output)}),
        **({"output_units": units} if len(units) > 1 else {}),
        **({} if trace.precision == "float" else {"scheme": graph.metadata.document.get(KEY)}),
    }
