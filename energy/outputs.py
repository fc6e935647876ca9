"""The files of a report: JSON, CSV, one HTML page, its figures, and NeuroBench's table."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from energy.counts import OperationCounts
from energy.document import Document
from energy.rows import write_images, write_layers
from neuromorphic.files import check_folder, check_outputs, write_text


@dataclass(frozen=True)
class Outputs:
    """The files that a command writes; None for each that is not asked for.

    Attributes:
        json: the whole report.
        csv: a row per layer.
        per_image: a row per image, layer and time step.
        html: the report as one page.
        svg: a folder for its figures.
        neurobench: NeuroBench's metrics as JSON.
    """

    json: Path | None = None
    csv: Path | None = None
    per_image: Path | None = None
    html: Path | None = None
    svg: Path | None = None
    neurobench: Path | None = None

    def check(self, inputs: Iterable[Path | str | None]) -> None:
        """Refuse places where no file can be written, or one is that of an input, before any work is done.

        Raises:
            RefusedInput: as `files.check_outputs` and `files.check_folder`, for figures.
        """
        files = {
            "--json": self.json,
            "--csv": self.csv,
            "--per-image": self.per_image,
            "--html": self.html,
            "--neurobench": self.neurobench,
        }
        check_outputs(files, inputs)
        if self.svg is not None:
            check_folder("--svg", self.svg)

    def write(self, report: Document, counts: OperationCounts) -> None:
        """Write each file whole or not at all.

        Raises:
            RefusedInput: one can't be written.
        """
        if self.json is not None:
            write_text(self.json, report.model_dump_json(indent=2) + "\n")
        if self.neurobench is not None:
            write_text(self.neurobench, report.neurobench.model_dump_json(indent=2) + "\n")
        if self.csv is not None:
            write_text(self.csv, _text(write_layers, counts))
        if self.per_image is not None:
            write_text(self.per_image, _text(write_images, counts))
        if self.html is not None or self.svg is not None:
            self._draw(report)

    def _draw(self, report: Document) -> None:
        from energy.report import figures, html  # jinja2 takes a while

        if self.html is not None:
            write_text(self.html, html(report))
        if self.svg is not None:
            self.svg.mkdir(exist_ok=True)
            for name, figure in figures(report).items():
                write_text(self.svg / f"{name}.svg", figure)


def _text(write: Callable[[OperationCounts, TextIO], None], counts: OperationCounts) -> str:
    file = io.StringIO()
    write(counts, file)
    return file.getvalue()
