"""Judges variants of a file in a process of its own: `python -m tests.fuzz.worker damaged|hostile FILE FIRST LAST`.

The process is small (no torch) and may die: HDF5's library does of some files.  It writes the number of every case
before it begins, and what became of it after, as lines on standard output; whoever started it goes on behind a case
that killed it.  The rehearsal that `read_graph` holds is left out here, so that such cases show.
"""

import math
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import neuromorphic.reading.read
from tests.fuzz.damage import damaged
from tests.fuzz.hostile import CHANGES, replacements, write_changed
from tests.fuzz.judge import judge, shrink_limits

MEMORY = 1024**3
"""Bytes of address space beyond those of a process that has imported everything."""

SECONDS = 3
"""Of the processor, after which a case counts as hung: the kernel ends the worker with SIGXCPU."""

IN_INTEGERS = 10
"""Of so many cases one is quantised and placed too."""


def damages(file: Path) -> Callable[[int, Path], object]:
    data = file.read_bytes()
    return lambda seed, path: path.write_bytes(damaged(data, seed))


def changes(file: Path) -> Callable[[int, Path], object]:
    listed = list((CHANGES | replacements(file)).values())
    return lambda index, path: write_changed(file, listed[index], path)


VARIANTS = {"damaged": damages, "hostile": changes}


def main() -> None:
    kind, file, first, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    warnings.simplefilter("error")
    shrink_limits()
    neuromorphic.reading.read.rehearse = lambda work, path: None
    make = VARIANTS[kind](file)
    case = file.with_suffix(f".{kind}.nir")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    for seed in range(first, last):
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + SECONDS, most))
        print(seed, end=" ", flush=True)
        try:
            make(seed, case)
            print(judge(case, integers=seed % IN_INTEGERS == 0), flush=True)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__} at {where.filename}:{where.lineno}: {error}"
            print("bug", text.encode("unicode_escape").decode(), flush=True)


if __name__ == "__main__":
    main()
