"""Classes are found by their names, in one way everywhere: exactly, or but for case, underscores, hyphens and spaces.

No synonyms: a `car` is no `automobile`.  No torch.
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeclip.errors import RefusedInput

SHOWN = 12
"""Names that a refusal lists."""

MOST_DIGITS = 10
"""Names of as many digits number no class of a model."""


def read_names(path: Path) -> tuple[str, ...]:
    """The lines of a text file of names, without empty ones.

    Raises:
        RefusedInput: it is not readable as UTF-8.
    """
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise RefusedInput(f"{path}: not a readable text file; expected one in UTF-8") from error
    except OSError as error:
        raise RefusedInput(f"{path}: not a readable text file ({error.strerror})") from error


def normalised(name: str) -> str:
    """`name` in the spelling in which names are compared: `Maine_Coon`, `maine-coon` and `maine  coon` are one."""
    words = re.split(r"[\s_-]+", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(word for word in words if word)


def same_class(name: str, names: Sequence[str]) -> bool:
    """Whether one of `names` is `name` in some spelling."""
    return normalised(name) in {normalised(other) for other in names}


def same_list(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists name the same classes in the same order."""
    return [*map(normalised, names)] == [*map(normalised, others)]


def class_numbers(names: Sequence[str]) -> NDArray[np.int64] | None:
    """The numbers that folders are named by, `0`, `1`, `2`, `10`; None where a name is no whole number.

    Sorted as text, `10` comes before `2`: the place of such a name among the others is not its number.
    """
    if not names or not all(name.isdecimal() and len(name) < MOST_DIGITS for name in names):
        return None
    return np.asarray([int(name) for name in names], np.int64)


def find_classes(wanted: Sequence[str], known: Sequence[str], whose: str, owner: str) -> NDArray[np.int64]:
    """The index of each wanted name among the known ones: int64 `[wanted]`.

    A name that is there letter by letter is taken; else the one that is the same but for its spelling (`normalised`).

    Args:
        wanted: names to find.
        known: names to find them among, at least one.
        whose: who has the wanted names, for the refusal.
        owner: who has the known ones.

    Raises:
        RefusedInput: names are not there (all are listed, with the closest known one), or could be two of them.
    """
    if same_list(wanted, known):
        return np.arange(len(wanted))  # the same list, even if a name is in it twice, as ImageNet's crane is
    spellings = [normalised(name) for name in known]
    exact, alike = _places(known), _places(spellings)
    numbers, missing = [], []
    for name in wanted:
        places = exact.get(name) or alike.get(normalised(name), [])
        if len(places) > 1:
            raise RefusedInput(
                f"{whose}: class {name!r} could be classes {' and '.join(map(str, places))} of {owner}, "
                f"{' and '.join(repr(known[i]) for i in places)}; expected names that differ"
            )
        numbers += places
        if not places:
            missing.append(name)
    if missing:
        raise RefusedInput(f"{whose}: {_missing(missing, known, spellings, owner)}")
    return np.asarray(numbers, np.int64)


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """The indices at which each name stands: several where a name is there more than once."""
    places: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(name, []).append(i)
    return places


def _missing(missing: Sequence[str], known: Sequence[str], spellings: Sequence[str], owner: str) -> str:
    parts = []
    for name in missing[:SHOWN]:
        close = get_close_matches(normalised(name), spellings, n=1)
        parts.append(repr(name) + (f" (did you mean {known[spellings.index(close[0])]!r}?)" if close else ""))
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    classes = "class" if len(missing) == 1 else "classes"
    listed = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    return f"{owner} has no {classes} {', '.join(parts)}{more}; its {len(known)} classes are {listed}"
