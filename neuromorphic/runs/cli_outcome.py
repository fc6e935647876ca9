"""The outcome of `spikeclip-simulate`: sentences on the console, and files."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from neuromorphic.files import all_written, check_outputs, write_json, write_text
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import ParityReport
from neuromorphic.placement import Placement, picture
from neuromorphic.runs.cli_inputs import Inputs, assumed_of
from neuromorphic.runs.cli_integers import widths_of
from neuromorphic.runs.cli_shards import PYTORCH
from neuromorphic.runs.streaming import RunSums
from neuromorphic.runs.summary import (
    assumptions,
    classifies,
    core_sentences,
    document,
    quantisation_sentences,
    sentences,
    table,
    unit_sentences,
)
from spikeclip.console import results, written
from spikeclip.data import ImageSet
from spikeclip.predictions import Truth, describe_images


@dataclass(frozen=True)
class Outputs:
    """Paths of the files to write; None for those that are not asked for.

    Attributes:
        trace: of the trace, as HDF5.
        json: of the run, as JSON.
        html: of the run, as a page.
        placement: of the placement, as JSON; a picture is written beside it.
        quantised: of the quantised graph.
        onnx: of the integers, as a model of ONNX.
    """

    trace: Path | None
    json: Path | None
    html: Path | None
    placement: Path | None
    quantised: Path | None
    onnx: Path | None

    @property
    def picture(self) -> Path | None:
        """The path of the placement's picture."""
        return None if self.placement is None else self.placement.with_suffix(".svg")

    @property
    def shown(self) -> int:
        """The number of images whose spikes the page shows."""
        if self.html is None:
            return 0
        from neuromorphic.runs.content import SHOWN

        return SHOWN

    def check(self, read: Iterable[Path | str | None], kept: Iterable[Path | None] = ()) -> None:
        """Refuse paths that can't be written, before any work is done.

        Raises:
            RefusedInput: as of `check_outputs`, of inputs that are `read` and folders that are `kept`.
        """
        files = {
            "-o": self.trace,
            "--json": self.json,
            "--html": self.html,
            "--save-quantized": self.quantised,
            "--save-onnx": self.onnx,
            "--placement": self.placement,
            "--placement's picture": self.picture,
        }
        check_outputs(files, read, {"-o": (".h5", ".hdf5", "")}, kept=kept)


@dataclass(frozen=True)
class Outcome:
    """The result of a run, with its inputs.

    Attributes:
        graph: that ran.
        model: its file; None for a module.
        found: the images or frames.
        truth: their classes.
        run: the sums of the run.
        placed: the placement of the graph, with the run; None if it isn't asked for.
    """

    graph: Graph
    model: Path | None
    found: Inputs
    truth: Truth
    run: RunSums
    placed: Placement | None

    @property
    def parity(self) -> ParityReport | None:
        """The comparison with PyTorch, if there was one."""
        return self.run.reports.get(PYTORCH)

    @property
    def accuracy(self) -> float | None:
        """The share of correct predictions, if labels are known."""
        return self.truth.accuracy(self.run.totals.answers.predictions)

    @property
    def assumed(self) -> list[str]:
        """Assumptions, in sentences."""
        return [*assumptions(self.graph), *assumed_of(self.found), *self.truth.assumed]

    @cached_property
    def said(self) -> list[str]:
        """Sentences on the run."""
        totals = self.run.totals
        said = [*self.assumed, *sentences(totals, self.accuracy, self.parity)]
        if self.graph.precision == "loihi2":
            said += [
                *quantisation_sentences(self.graph),
                *unit_sentences(self.graph),
                *widths_of(self.graph, totals.answers),
            ]
        return said if self.placed is None else [*said, *core_sentences(self.placed)]

    @cached_property
    def described(self) -> list[dict[str, Any]]:
        """Each image's file, label and best classes; empty if outputs are not classes."""
        if not classifies(self.graph):
            return []
        names = self.graph.metadata.label_names
        return describe_images(self.found.names, self.run.totals.answers.scores, names, self.truth)

    def show(self) -> None:
        """Print a table of predictions, if there are classes, and the sentences."""
        graph, found = self.graph, self.found
        if classifies(graph):
            results.print(table(graph, self.run.totals, found.names, self.truth.classes, self.truth.label_names))
        for line in self.said:
            results.print(line, markup=False)

    def write(self, outputs: Outputs) -> None:
        """Write the files that follow a run, and print the names of all that were written, earlier ones included.

        Raises:
            RefusedInput: one can't be written.
        """
        trace = None if self.run.unwritten else outputs.trace
        before = (outputs.quantised, outputs.onnx, trace)
        with all_written(lambda *paths: written(*before, *paths)) as write:
            if (placed := self.placed) is not None:
                write(outputs.placement, lambda path: write_json(path, placed.to_dict()))
                write(outputs.picture, lambda path: write_text(path, picture(placed)))
            write(outputs.json, lambda path: write_json(path, self._result()))
            write(outputs.html, lambda path: write_text(path, self._page()))

    def _result(self) -> dict[str, Any]:
        result = {**document(self.graph, self.run.totals, self.parity, self.accuracy), "assumed": self.assumed}
        return {**result, "per_image": self.described} if classifies(self.graph) else result

    def _page(self) -> str:
        from neuromorphic.runs.content import Run, described_graph
        from neuromorphic.runs.page import html  # jinja2 takes a while

        run = self.run
        assert run.first is not None
        pixels = self.found.images if isinstance(self.found, ImageSet) else None
        drawn = described_graph(self.graph, self.model)
        made = (self.described, self.accuracy, self.placed, self.said)
        return html(Run(drawn, run.totals, run.first, run.reports, pixels, *made))
