"""How the commands speak: progress and results on a console, refusals as one sentence and exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from spikeclip.errors import RefusedInput

console = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn `RefusedInput` into its sentence on standard error and exit code 2."""
    try:
        yield
    except RefusedInput as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(2) from error
