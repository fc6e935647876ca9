"""From counts and prices to the document: one account per device and scheme, one comparison per device of the twin."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

import numpy as np

from energy import pricing
from energy.counts import AnnCounts, OperationCounts
from energy.distribution import distribution
from energy.document import (
    FORMAT,
    FORMAT_VERSION,
    Account,
    Accuracy,
    Comparison,
    DeviceReport,
    Document,
    Provenance,
    Scheme,
    Traffic,
    Traffics,
)
from energy.layers import break_even_rates
from energy.limits import not_counted, notes
from energy.neurobench import neurobench
from energy.prices import Device, Widths
from energy.statistics import break_even, sensitivity
from energy.traffic import Access, Reuse, ann_accesses, snn_accesses, width
from energy.verdict import OPPONENTS, decide, sentence
from neuromorphic.ir.graph import Graph


def assemble(
    graph: Graph,
    counts: OperationCounts,
    devices: Sequence[Device],
    origin: Provenance,
    producer: str = "reference",
    precision: str = "float",
    assumed: Sequence[str] = (),
    accuracy: Accuracy | None = None,
    ann_devices: Sequence[Device] = (),
) -> Document:
    """The whole report.

    Args:
        graph: that was counted.
        counts: of a run of it.
        devices: to price it on, each also for its twin where that is fair (`fair`).
        origin: where model and images come from.
        producer: what ran: `reference`, `lava` or `torch`.
        precision: of that run.
        assumed: what was taken for granted, in sentences.
        accuracy: of both sides.
        ann_devices: to price only the twin on, as `bit_matched` makes them.
    """
    if accuracy is None:
        accuracy = Accuracy(snn=None, ann=None)
    return Document(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        model=graph.source,
        producer=producer,
        precision=precision,
        images=counts.images,
        time_steps=counts.time_steps,
        input_kind=graph.metadata.input_kind or "real",
        assumed=list(assumed),
        accuracy=accuracy,
        neurobench=neurobench(graph, counts),
        snn=counts,
        ann=counts.ann,
        devices={d.name: _report(graph, counts, d, [*devices, *ann_devices], accuracy) for d in devices},
        ann_devices={device.name: device for device in ann_devices},
        not_counted=not_counted(graph, counts),
        notes=notes(counts, devices, ann_devices),
        provenance=origin,
    )


def fair(ours: Device, theirs: Device) -> bool:
    """Whether the encoder on `ours` may be compared with a twin on `theirs`.

    Both are bare operations of one technology, and the twin's weights and activations are no wider than the encoder's:
    a wider twin would flatter it, a narrower one is the hard comparison.
    """
    if ours.chip or theirs.chip or ours.technology != theirs.technology:
        return False
    if ours.name == theirs.name:
        return True
    if ours.widths is None or theirs.widths is None:
        return False
    own, other = ((widths.weight, widths.activation) for widths in (ours.widths, theirs.widths))
    return other != own and other[0] <= own[0] and other[1] <= own[1]


def _report(
    graph: Graph, counts: OperationCounts, device: Device, devices: Sequence[Device], accuracy: Accuracy
) -> DeviceReport:
    ann = counts.ann
    traffic = ann_traffic = None
    if device.widths is not None:
        traffic = _traffics(partial(snn_accesses, graph, counts), device.widths, counts.images)
    if device.widths is not None and ann is not None and ann.shaped:
        ann_traffic = _traffics(partial(ann_accesses, ann), device.widths, counts.images)
    twins = [other for other in devices if fair(device, other)]
    return DeviceReport(
        device=device,
        traffic=traffic,
        ann_traffic=ann_traffic,
        accounts={
            scheme: _account(graph, counts, device, scheme, twins, accuracy) for scheme in pricing.schemes(device)
        },
    )


def _traffics(accesses: Callable[[Reuse], list[Access]], widths: Widths, images: int) -> Traffics:
    ideal, none = (_traffic(accesses(reuse), widths, images) for reuse in get_args(Reuse))
    return Traffics(ideal_reuse=ideal, no_reuse=none)


def _traffic(accesses: list[Access], widths: Widths, images: int) -> Traffic:
    moved = dict.fromkeys(("weights", "states", "spikes", "activations"), 0)
    for access in accesses:
        moved[access.part] += int(np.broadcast_to(access.moved, images).sum()) * width(access.part, widths)
    return Traffic(**{part: -(-bits // 8) for part, bits in moved.items()})


def _account(
    graph: Graph,
    counts: OperationCounts,
    device: Device,
    scheme: Scheme,
    twins: Sequence[Device],
    accuracy: Accuracy,
) -> Account:
    ledger = pricing.snn_ledger(graph, counts, device, scheme)
    comparisons = []
    if counts.ann is not None and counts.ann.macs and (counts.ann.shaped or scheme == "papers"):
        for twin in twins:
            if scheme in pricing.schemes(twin):
                comparisons.append(_compare(ledger, counts, counts.ann, (device, twin), scheme, accuracy))
    return Account(
        title=pricing.TITLES[scheme],
        energy=distribution(pricing.energies(ledger, device, counts.images)),
        parts=pricing.by_part(ledger, device),
        layers=pricing.by_layer(ledger, device),
        unpriced=pricing.unpriced(counts, scheme),
        break_even_rates=break_even_rates(graph, counts, device, scheme),
        comparisons=comparisons,
    )


def _compare(
    ledger: list[pricing.Entry],
    counts: OperationCounts,
    ann: AnnCounts,
    devices: tuple[Device, Device],
    scheme: Scheme,
    accuracy: Accuracy,
) -> Comparison:
    ours, theirs = devices
    twin = pricing.ann_ledger(ann, theirs, scheme)
    cost = float(pricing.energies(twin, theirs, 1)[0])
    ratio = distribution(np.asarray(pricing.energies(ledger, ours, counts.images) / cost))
    prices = sensitivity(pricing.by_price(ledger, ours), ours, pricing.by_price(twin, theirs), theirs)
    verdict, reasons = decide(ratio, prices)
    dense = sum(layer.dense for layer in counts.layers.values())
    rate = counts.sops / dense if dense else None
    driven = sum(pricing.mean(entry, ours) for entry in ledger if entry.driven)
    fixed = sum(pricing.mean(entry, ours) for entry in ledger if not entry.driven)
    even = break_even(fixed, driven, rate, cost)
    return Comparison(
        ann_device=theirs.name,
        same_precision=ours.precision == theirs.precision,
        ann_energy=cost,
        ann_parts=pricing.by_part(twin, theirs),
        ann_layers=pricing.by_layer(twin, theirs),
        ratio=ratio,
        verdict=verdict,
        reasons=reasons,
        sentence=sentence(verdict, reasons, scheme, devices, ratio, rate, even, OPPONENTS[ann.baseline], accuracy),
        rate=rate,
        fixed=fixed,
        proportional=driven,
        break_even_rate=even,
        sensitivity=prices,
    )
