"""`python -m benchmarks`: Lava against PyTorch."""

import typer

from benchmarks.lava import main

if __name__ == "__main__":
    typer.run(main)
