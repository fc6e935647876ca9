"""A twin and the encoder that learns from it, on a machine whose GPU is lent for minutes.

python scripts/train_on_gpu.py --data cifar10:DIR --labels FILE.npz:KEY [--minutes 9] [--runs runs/gpu]

What doesn't end in its minutes goes on when the command is given again, from the last checkpoint.  `--limit`,
`--test` and `--epochs-divided-by` rehearse it in small: docs/training.md.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

PRESET = "spike-driven-medium-early"
LARGEST_PART = 15 * 2**20
"""Bytes of a file that is brought back; larger ones are cut."""


def schedule(*pairs: tuple[int, int], divisor: int) -> str:
    """Pairs (time steps, epochs) as `--schedule` has them, with as few epochs as a rehearsal needs."""
    return ",".join(f"{steps}x{max(1, epochs // divisor)}" for steps, epochs in pairs)


def commands(runs: Path, divisor: int) -> dict[Path, list[str]]:
    """Options of `spikeclip-train` by the checkpoint that it writes, in order."""
    twin, encoder = runs / "twin.safetensors", runs / "encoder.safetensors"
    muon = ["--optimizer", "muon", "--flips", "alternating"]
    return {
        twin: ["--twin", "--schedule", schedule((1, 60), divisor=divisor), *muon],
        encoder: [
            *("--stage", "dual", "--teacher", str(twin), "--teacher-cache", str(runs / "twin.features.npz")),
            *("--schedule", schedule((1, 80), (4, 20), divisor=divisor), *muon),
        ],
    }


def main(found: argparse.Namespace) -> int:
    """Train what is left to train; 0 where all is done, 1 where time ran out, or what failed returned."""
    end = time.monotonic() + 60 * found.minutes
    found.runs.mkdir(parents=True, exist_ok=True)
    common = ["--preset", PRESET, "--data", f"{found.data}:train", "--test", found.test or f"{found.data}:test"]
    common += ["--labels", found.labels, "--batch-size", str(found.batch_size), "--save-every", str(found.save_every)]
    if found.limit:
        common += ["--limit", str(found.limit)]
    for checkpoint, options in commands(found.runs, found.epochs_divided_by).items():
        if checkpoint.is_file() and not checkpoint.with_name(checkpoint.name + ".resume").is_file():
            continue
        command = [sys.executable, "-m", "spikeclip", "train", *common, *options, "-o", str(checkpoint)]
        print(" ".join(command[2:]), flush=True)
        try:
            code = subprocess.run(command, timeout=max(1.0, end - time.monotonic()), check=False).returncode
        except subprocess.TimeoutExpired:
            print(f"{checkpoint}: {found.minutes} minutes are over; the same command goes on", flush=True)
            return 1
        if code:
            return code
    if found.results:
        for file in sorted([*found.runs.glob("*.safetensors"), *found.runs.glob("*.json*")]):
            cut(file, found.results)
    return 0


def cut(file: Path, folder: Path) -> None:
    """Copy a file in parts that may be brought back: `cat NAME.part* > NAME` puts them together."""
    content = file.read_bytes()
    starts = range(0, len(content), LARGEST_PART)
    for i, start in enumerate(starts):
        name = f"{file.name}.part{i}" if len(starts) > 1 else file.name
        (folder / name).write_bytes(content[start : start + LARGEST_PART])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="cifar10:DIR")
    parser.add_argument("--test", help="images to measure on; those of --data by default")
    parser.add_argument("--labels", required=True, help="FILE.npz:KEY")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--results", type=Path, help="folder for copies in parts of 15 MiB at most")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--save-every", type=int, default=5)
    parser.add_argument("--limit", type=int, help="take the first N images only")
    parser.add_argument("--epochs-divided-by", type=int, default=1)
    sys.exit(main(parser.parse_args()))
