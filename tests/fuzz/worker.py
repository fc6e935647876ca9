"""Judges damaged copies of a file in a process of its own: `python -m tests.fuzz.worker FILE FIRST LAST`.

The process is small (no torch) and may die: HDF5's library does of some files.  It writes the number of every case
before it begins, and what became of it after, as lines on standard output; whoever started it goes on behind a case
that killed it.  The rehearsal that `read_graph` holds is left out here, so that such cases show.
"""

import resource
import sys
import traceback
import warnings
from pathlib import Path

import neuromorphic.read
from tests.fuzz.damage import damaged
from tests.fuzz.judge import judge, shrink_limits

MEMORY = 1024**3
"""Bytes of address space beyond those of a process that has imported everything."""


def main() -> None:
    file, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("error")
    shrink_limits()
    neuromorphic.read.rehearse = lambda work, path: None
    data = file.read_bytes()
    case = file.with_suffix(".case.nir")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for seed in range(first, last):
        print(seed, end=" ", flush=True)
        case.write_bytes(damaged(data, seed))
        try:
            print(judge(case), flush=True)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__} at {where.filename}:{where.lineno}: {error}"
            print("bug", text.encode("unicode_escape").decode(), flush=True)


if __name__ == "__main__":
    main()
