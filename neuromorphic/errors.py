"""Exceptions for input that is refused and for a failed simulation, and parts of their messages."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class RefusedInput(ValueError):
    """Input that is refused: one sentence that names the file or node, what was found and what was expected.

    Console scripts print it and exit with code 2.  What a message quotes may come from a hostile file: characters that
    would break the line or steer a terminal are written as escapes.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


@contextmanager
def named(source: object) -> Iterator[None]:
    """Put the name of a file before the message of a `RefusedInput` of the block."""
    try:
        yield
    except RefusedInput as error:
        raise RefusedInput(f"{source}: {error}") from error


class SimulationFailed(RuntimeError):
    """Lava died, raised or ran over its time limit; the message holds its last words."""


def shown(value: object) -> str:
    """`value` as a message quotes it: its repr on one line, cut where it is long."""
    text = " ".join(repr(value)[: 4 * SHOWN].split())
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def first_line(said: str, silent: str = "no message") -> str:
    """The first line of what an exception said, as a message quotes it; `silent` where it said nothing."""
    lines = said.strip().splitlines()
    return lines[0][:QUOTED] if lines else silent


def all_of(reasons: Sequence[str], source: str) -> str:
    """Several refusals as one message, `model.nir: node 'a' ...; node 'b' ...`, with the source only once."""
    first, *others = reasons[:LISTED]
    more = [f"and {number(len(reasons) - LISTED, 'more fault')}"] if len(reasons) > LISTED else []
    return "; ".join([first, *(reason.removeprefix(f"{source}: ") for reason in others), *more])


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a message, "; did you mean 'x'?", if a `known` name is similar to `name`; else empty."""
    from difflib import get_close_matches

    spelled = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), spelled, n=1)
    return f"; did you mean {spelled[close[0]]!r}?" if close else ""


def check_choice(what: str, value: object, known: Iterable[str]) -> None:
    """Refuse a value that is not among those known; for callers in Python, as command lines check choices themselves.

    Raises:
        RefusedInput: "what 'value'; expected one of a, b".
    """
    names = list(known)
    if value not in names:
        raise RefusedInput(f"{what} {shown(value)}; expected one of {', '.join(names)}{meant(str(value), names)}")


def number(count: int, noun: str) -> str:
    """A number with its noun, as messages say it: `1 path`, `1,234 paths`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


LISTED = 32
"""Refusals that one message lists."""

QUOTED = 200
"""Characters of an exception that a message quotes."""

SHOWN = 80
"""Characters of a value that a message quotes."""
