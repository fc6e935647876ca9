"""The report as data: counts, prices, statistics, verdicts and where they come from.  What is shown is made of this.

Counts are integers, summed over the images; energies are picojoules per image.  `docs/energy.schema.json` is this
module's JSON schema.
"""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from energy.counts import AnnCounts, OperationCounts
from energy.distribution import Distribution
from energy.neurobench import NeuroBench
from energy.prices import Device
from energy.record import Strict
from neuromorphic.ir.metadata import InputKind

FORMAT: Final = "spikeclip-energy"
FORMAT_VERSION: Final = 4

Verdict = Literal["cheaper", "not cheaper", "undecided"]

Scheme = Literal["papers", "operations", "ideal_reuse", "no_reuse", "chip"]
"""The contents of an account:

`papers`: SOPs, additions of self-attention, and MACs, as most publications do.
`operations`: every operation that is counted.
`ideal_reuse`: these, and memory where every datum moves once per image: a lower bound of traffic on both sides.
`no_reuse`: these, and memory where every operation fetches its operands: an upper bound.
`chip`: what a chip's published figures cover.
"""

Part = Literal[
    "synapses", "macs", "attention", "updates", "additions", "comparisons", "weights", "states", "spikes", "activations"
]
"""Parts of an energy; the last four are accesses to memory (on a chip, `spikes` are those that its routers carry)."""


class Traffic(Strict):
    """Bytes read and written, over all images."""

    weights: int
    states: int
    spikes: int
    activations: int


class Traffics(Strict):
    """Bytes under both assumptions on reuse."""

    ideal_reuse: Traffic
    no_reuse: Traffic


class Sensitivity(Strict):
    """The effect of one price on a verdict.

    Attributes:
        device: whose price it is.
        price: which of its operations or memories.
        factor: multiplied by this, both sides cost the same; None where no positive factor does that.
        plausible: lowest and highest factor within the price's plausible range.
        flips: whether `factor` lies within that range.
    """

    device: str
    price: str
    factor: float | None
    plausible: tuple[float, float]
    flips: bool


class Comparison(Strict):
    """The encoder against its ANN twin, under one account.

    `cost(r) = (fixed + proportional · r / rate) / ann_energy` is the ratio if all populations fired more or less by
    one factor, so that the mean rate were r.

    Attributes:
        ann_device: that the twin's operations are priced on; of the same technology.
        same_precision: whether both sides compute in it.
        ann_energy: picojoules per image.
        ann_parts: the same, by part.
        ann_layers: the same, by layer and part.
        ratio: energy of the encoder over that of the twin, image by image.
        verdict: of the two.
        reasons: why it is undecided; empty otherwise.
        sentence: the verdict for people.
        rate: SOPs over those at a rate of 1; None without SOPs.
        fixed: picojoules per image that don't depend on spikes.
        proportional: those that are proportional to spikes.
        break_even_rate: r with `cost(r) = 1`; more than 1 where no rate loses, None where none wins or nothing spikes.
        sensitivity: by price.
    """

    ann_device: str
    same_precision: bool
    ann_energy: float
    ann_parts: dict[Part, float]
    ann_layers: dict[str, dict[Part, float]]
    ratio: Distribution
    verdict: Verdict
    reasons: list[str]
    sentence: str
    rate: float | None
    fixed: float
    proportional: float
    break_even_rate: float | None
    sensitivity: list[Sensitivity]


class Account(Strict):
    """The encoder's energy on one device, under one scheme.

    Attributes:
        title: what is in it, for people.
        energy: picojoules of each image.
        parts: mean picojoules per image, by part.
        layers: the same, by node and part.
        unpriced: counts, over all images, of what the device has no price for: `energy` is without them.
        break_even_rates: per layer, the rate of its inputs at which its SOPs of T steps cost what evaluating the same
            layer once on real values would; None where no rate is that low.
        comparisons: with the ANN twin; empty for a chip, without a twin, and where the twin's table lacks shapes.
    """

    title: str
    energy: Distribution
    parts: dict[Part, float]
    layers: dict[str, dict[Part, float]]
    unpriced: dict[str, int]
    break_even_rates: dict[str, float | None]
    comparisons: list[Comparison]


class DeviceReport(Strict):
    """All accounts on one device.

    `traffic` is None for a chip; `ann_traffic` is None for a chip, without a twin, and without the twin's shapes.
    """

    device: Device
    traffic: Traffics | None
    ann_traffic: Traffics | None
    accounts: dict[Scheme, Account]


class NotCounted(Strict):
    """Something that no count holds, on one side or both, and why."""

    what: str
    side: Literal["snn", "ann", "both"]
    why: str


class Data(Strict):
    """The data of a run: `spec` as it was given, and the hash of pixels and labels, or of the trace's file."""

    spec: str
    sha256: str


class Provenance(Strict):
    """The origin of the figures.

    Attributes:
        model_sha256: of the `.nir` file.
        checkpoint_sha256: of the checkpoint that it was made of, as the file says.
        data: the images or the trace; None where the caller didn't say.
        seed: that the checkpoint was trained with, where the file says; counting draws no random numbers.
        versions: of Python, this package and the libraries that count; and, as the file says, that exported.
        command: that was run; None from Python.
    """

    model_sha256: str | None
    checkpoint_sha256: str | None
    data: Data | None
    seed: int | None
    versions: dict[str, str]
    command: list[str] | None


class Accuracy(Strict):
    """Shares of right predictions of both sides; None where no labels, or nobody, say it.

    Attributes:
        snn: of the encoder, on the images that were counted.
        ann: of the ANN twin, as the file's table of it (`accuracy`) or whoever counted says.
    """

    snn: float | None
    ann: Annotated[float | None, Field(ge=0, le=1)]


class Document(Strict):
    """The whole report.

    Attributes:
        format, format_version: of this schema.
        model: name of its file.
        producer, precision: what ran: `reference`, `lava` or `torch`; `float` or `loihi2`.
        images, time_steps: of the run.
        input_kind: what the input was taken for.
        assumed: what was taken for granted, in sentences.
        accuracy: of both sides.
        snn, ann: counts of both; `ann` is None where there is nothing to compare with.
        neurobench: the same run in NeuroBench's metrics.
        devices: energies, by the device's name.
        ann_devices: that only the ANN is priced on, as those of the bits that match T (`bit_matched`).
        not_counted: on one side or both.
        notes: what has to be known to read the figures.
        provenance: where they come from.
    """

    format: Literal["spikeclip-energy"]
    format_version: Literal[4]
    model: str
    producer: str
    precision: str
    images: int
    time_steps: int
    input_kind: InputKind
    assumed: list[str]
    accuracy: Accuracy
    snn: OperationCounts
    ann: AnnCounts | None
    neurobench: NeuroBench
    devices: dict[str, DeviceReport]
    ann_devices: dict[str, Device]
    not_counted: list[NotCounted]
    notes: list[str]
    provenance: Provenance


def schema() -> dict[str, Any]:
    """The JSON schema of a document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Document.model_json_schema(mode="serialization"),
    }


def schema_text() -> str:
    """The schema as it stands in `docs/energy.schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
