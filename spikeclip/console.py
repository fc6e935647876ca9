"""The console of the commands: options, progress and results, and refusals as one sentence with exit code 2."""

import errno
import io
import logging
import math
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

import typer
from typer.core import TyperCommand
from typer.main import get_command

from neuromorphic.errors import RefusedInput, SimulationFailed, meant
from spikeclip.errors import first_line
from spikeclip.missing import why_missing

# SpikingJelly makes PyTorch say so twice on every machine without Triton, which nothing here uses.
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)


class _Console:
    """A console of rich, made when it is first used: loading rich takes a third of the time of `--help`."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self.unwritten: OSError | None = None

    @cached_property
    def made(self) -> Any:
        """The console of rich."""
        from rich.console import Console

        made: Any = Console(highlight=False, soft_wrap=True, emoji=False, **self._settings)
        made.on_broken_pipe = partial(_in_silence, made)
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made, name)

    def print(self, *shown: Any, **settings: Any) -> None:
        """As of rich; what can't be written, as to a full disk, ends no run: the files of results are still to come."""
        try:
            self.made.print(*shown, **settings)
        except OSError as error:
            self.unwritten = error
            _in_silence(self.made)


def _in_silence(console: Any) -> None:
    """Go on where the reader of a stream has left, as that of `| head`.

    Files are still to be written, and the exit code says what came of the run; rich would end it with 1, which says
    that a spike differs.
    """
    console.quiet = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, console.file.fileno())  # what is flushed at the end fails no more
    os.close(nowhere)


console = _Console(stderr=True)
"""Progress and errors: standard error."""

LOG_WIDTH = 160
"""Columns where nothing says how many there are, as in a file: no name has to fold."""

_terminal = sys.stdout is not None and sys.stdout.isatty()  # None where the stream is closed
_width = None if _terminal or "COLUMNS" in os.environ else LOG_WIDTH
results = _Console(width=_width)
"""Results: standard output."""


class _Command(TyperCommand):
    """A command that guesses which of an option's choices a misspelled one was meant to be."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            for word in args:
                if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
                    raise typer.BadParameter(f"{word!r} has bytes that are no text (UTF-8); expected another name")
            rest = super().parse_args(ctx, args)
            for parameter in self.params:
                value = ctx.params.get(parameter.name or "")
                if isinstance(value, float) and not math.isfinite(value):  # no range refuses nan
                    raise typer.BadParameter(f"{value} is no finite number.", ctx, parameter)
            return rest
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # pydantic's
            given, refused, choices = error.message.partition(" is not one of ")
            if refused and (guess := meant(given.strip("'"), re.findall(r"'(.*?)'", choices))):
                error.message = error.message.removesuffix(".") + guess
            raise


class _Application(typer.Typer):
    """An application of such commands."""

    def command(self, *given: Any, **settings: Any) -> Any:
        return super().command(*given, cls=_Command, **settings)


def command_line() -> typer.Typer:
    """An application of one command, whose `--help` is plain text: it can be pasted, and takes no time to load."""
    return _Application(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def start(app: typer.Typer, arguments: Sequence[str] | None = None, called: str | None = None) -> NoReturn:
    """Run the one command of `app`.

    Args:
        app: made by `command_line`.
        arguments: of the command; those of this process by default.
        called: what the command calls itself; as this process is called by default.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    called = called or Path(sys.argv[0]).stem
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no character of a name or a unit ends a command
    command = get_command(app)
    if "--help" in arguments:  # shown without parsing, for which typer loads pydantic
        typer.echo(command.get_help(typer.Context(command, info_name=called)))
        sys.exit()
    try:
        code = command(arguments, prog_name=called, standalone_mode=True)
    except SystemExit as ended:
        code = ended.code
    if results.unwritten is not None:
        console.print(f"error: standard output can't be written ({results.unwritten.strerror})", markup=False)
    sys.exit(code or (2 if results.unwritten is not None else 0))


def examples(*commands: str) -> str:
    """The end of `--help`: commands as they can be pasted, long ones continued on the next line by a backslash."""
    shown = "\n".join(line for command in commands for line in _continued(command))
    return f"\b\nExample{'s' * (len(commands) > 1)}:\n{shown}"  # \b: click leaves the lines of this paragraph alone


def _continued(command: str) -> Iterator[str]:
    """The lines of a command, each but the first begun by an option."""
    line, *options = re.split(r" (?=-)", f"  {command}")
    for option in options:
        if len(line) + len(option) + 3 > HELP_WIDTH:
            yield f"{line} \\"
            line = f"      {option}"
        else:
            line += f" {option}"
    yield line


HELP_WIDTH = 78
"""Columns that `--help` fills."""


SYSTEM_LIMITS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ENOMEM),
        *(errno.ENAMETOOLONG, errno.ELOOP),
    }
)
"""Errors of the system, through no fault of a command's: it is full, or a name is too long or leads in a circle."""


@contextmanager
def refusals() -> Iterator[None]:
    """End a command as every command ends: with one sentence on standard error, and an exit code that says why.

    2: the input was refused, a package is missing, or the system has no room for what was asked; 3: the simulation
    failed; 70: a bug of ours, whose traceback goes to a file.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except RefusedInput as error:
        raise _ended(str(error), 2) from error
    except SimulationFailed as error:
        raise _ended(str(error), 3) from error
    except MemoryError as error:
        raise _ended("out of memory; expected fewer images at once, or a smaller model", 2) from error
    except Exception as error:
        if isinstance(error, ImportError) and (reason := why_missing(error)) is not None:
            raise _ended(reason, 2) from error
        if isinstance(error, OSError) and error.errno in SYSTEM_LIMITS:
            place = "" if error.filename is None else f"{error.filename}: "
            raise _ended(f"{place}{error.strerror}", 2) from error
        raise _ended(_bug(error), 70) from error


def _ended(sentence: str, code: int) -> typer.Exit:
    console.print(f"error: {sentence}", markup=False)
    return typer.Exit(code)


def _bug(error: Exception) -> str:
    """The sentence on an exception that nobody expected; its traceback is kept where that is possible."""
    said = f"a bug of ours: {type(error).__name__}: {first_line(error)}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="spikeclip-bug-", suffix=".txt", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return f"{said}; please report it"
    return f"{said}; please report it with {file.name}"


def written(*paths: Path | None) -> None:
    """Say which files were written."""
    done = [str(path) for path in paths if path is not None]
    if done:
        results.print(f"wrote {', '.join(done)}", markup=False)


def checkpoint_written(output: Path, test: Mapping[str, Any] | None, images: str | None) -> None:
    """Say which checkpoint was written, and its accuracy on `images`, where `test` of its card has one."""
    results.print(f"{output}" + (f": accuracy {test['accuracy']:.2%} on {images}" if test else ""))


class Advance(Protocol):
    """Moves a progress bar; `text` replaces its description."""

    def __call__(self, done: int, total: int, text: str | None = None) -> None: ...


@dataclass
class _Lines:
    """Progress in a log, where no bar can move: a line after every `EVERY` seconds of work."""

    description: str
    said: float = field(default_factory=lambda: time.monotonic())

    def __call__(self, done: int, total: int, text: str | None = None) -> None:
        if time.monotonic() - self.said >= EVERY:
            self.said = time.monotonic()
            console.print(f"{text or self.description}: {done:,} of {total:,}", markup=False)


EVERY = 30.0
"""Seconds between two lines of progress."""


@contextmanager
def progress_bar(description: str) -> Iterator[Advance]:
    """A progress bar on standard error if that is a terminal, removed at the end; otherwise a line now and then."""
    if not console.is_terminal:
        yield _Lines(description)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console.made, transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total, text=None: bar.update(task, completed=done, total=total, description=text)
