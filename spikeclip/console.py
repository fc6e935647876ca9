"""How the commands speak: choices, progress and results on a console, refusals as one sentence and exit code 2."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spikeclip.errors import RefusedInput

# SpikingJelly makes PyTorch say so twice on every machine without Triton, which nothing here uses.
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)

console = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress and errors: standard error."""

results = Console(highlight=False, soft_wrap=True)
"""What a command was run for: standard output."""


class CosineOption(StrEnum):
    """The choices of `--cosine`: `labels.Cosine`."""

    CENTRED = "centred"
    PLAIN = "plain"


@contextmanager
def refusals(*others: type[Exception]) -> Iterator[None]:
    """Turn `RefusedInput`, and the refusals of other packages, into one sentence on standard error and exit code 2."""
    try:
        yield
    except (RefusedInput, *others) as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(2) from error


def require_folders(*outputs: Path | None) -> None:
    """Refuse output files whose folders do not exist, before any work is done; None stands for no output.

    Raises:
        RefusedInput: a folder is missing.
    """
    for path in outputs:
        if path is not None and not path.parent.is_dir():
            raise RefusedInput(f"{path}: its folder does not exist")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without those that are empty.

    Raises:
        RefusedInput: it is not readable.
    """
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedInput(f"{path}: not a readable text file ({error})") from error


class Advance(Protocol):
    """Moves a progress bar; `text` replaces its description."""

    def __call__(self, done: int, total: int, text: str | None = None) -> None: ...


@contextmanager
def progress_bar(description: str) -> Iterator[Advance]:
    """A progress bar on standard error while it is a terminal, gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total, text=None: bar.update(task, completed=done, total=total, description=text)
