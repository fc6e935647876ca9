"""The files of a report: JSON, CSV, one HTML page, its figures, and NeuroBench's table."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from energy.counts import OperationCounts
from energy.document import Document
from energy.rows import write_images, write_layers
from neuromorphic.errors import RefusedInput
from neuromorphic.files import all_written, check_outputs, write_text


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

    def check(self, inputs: Iterable[Path | str | None], kept: Iterable[Path | None] = ()) -> None:
        """Refuse places where no file can be written, or one is that of an input, before any work is done.

        Raises:
            RefusedInput: as `files.check_outputs`, which takes `inputs` and `kept`.
        """
        files = {
            "--json": self.json,
            "--csv": self.csv,
            "--per-image": self.per_image,
            "--html": self.html,
            "--neurobench": self.neurobench,
        }
        there = [] if self.svg is None else sorted(self.svg.glob("*.svg"))
        figures = {f"--svg's {path.name}": path for path in there}
        check_outputs({**files, **figures}, inputs, folders={"--svg": self.svg}, kept=kept)

    def write(self, report: Document, counts: OperationCounts, told: Callable[..., None] = lambda *paths: None) -> None:
        """Write each file whole or not at all, the others too where one can't be; `told` which were (`all_written`).

        Raises:
            RefusedInput: some can't be written.
        """
        with all_written(told) as write:
            write(self.json, lambda path: write_text(path, report.model_dump_json(indent=2) + "\n"))
            write(self.csv, lambda path: write_text(path, _text(write_layers, counts)))
            write(self.per_image, lambda path: write_text(path, _text(write_images, counts)))
            write(self.html, lambda path: write_text(path, _html(report)))
            write(self.svg, lambda path: _draw(path, report))
            write(self.neurobench, lambda path: write_text(path, report.neurobench.model_dump_json(indent=2) + "\n"))


def _html(report: Document) -> str:
    from energy.report import html  # jinja2 takes a while

    return html(report)


def _draw(folder: Path, report: Document) -> None:
    from energy.report import figures

    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RefusedInput(f"--svg {folder}: can't be made ({error.strerror})") from error
    for name, figure in figures(report).items():
        write_text(folder / f"{name}.svg", figure)


def _text(write: Callable[[OperationCounts, TextIO], None], counts: OperationCounts) -> str:
    file = io.StringIO()
    write(counts, file)
    return file.getvalue()
