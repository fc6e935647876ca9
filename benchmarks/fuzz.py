"""As many damaged `.nir` files as there is time for: each is refused in one sentence, or runs.

Copies of the graph given are damaged (flipped bits, odd values, parts cut out, put in, swapped) and read and run in a
process of its own, within a GiB of memory and small limits (`tests.fuzz.judge`).  Copies that stop HDF5's library are
counted by what they do: for them `read_graph` rehearses.

    python -m benchmarks.fuzz MODEL.nir --cases 200000
"""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from spikeclip.console import progress_bar, results
from tests.fuzz.batches import fuzz


def main(
    model: Annotated[Path, typer.Argument(help="A graph (.nir), better a small one.")],
    cases: Annotated[int, typer.Option(min=1, help="Damaged copies.")] = 200_000,
    first: Annotated[int, typer.Option(help="Number of the first: the same number makes the same damage.")] = 0,
) -> None:
    """Fuzz the reader; exit code 1 where a copy was neither refused nor run."""
    with tempfile.TemporaryDirectory(prefix="spikeclip-") as folder, progress_bar("fuzzing") as advance:
        copy = Path(folder) / "model.nir"
        shutil.copyfile(model, copy)
        found = fuzz(copy, first, first + cases, progress=lambda seed: advance(seed - first, cases))
    shares = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(found.outcomes.items()))
    results.print(f"{found.cases:,} copies: {shares}")
    ends = sorted(set(found.fatal.values()))
    results.print(f"HDF5's library stopped by {len(found.fatal)}" + (f" ({', '.join(ends)})" if ends else ""))
    for seed, bug in found.bugs.items():
        results.print(f"{seed}: {bug}", markup=False)
    if found.bugs:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
