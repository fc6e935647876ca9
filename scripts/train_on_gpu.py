"""A teacher, and the encoders that learn from it side by side, on a machine whose GPU is lent for minutes.

python scripts/train_on_gpu.py --data cifar10:DIR --labels FILE.npz:KEY [--minutes 9] [--runs runs/gpu]

What doesn't end in its minutes goes on when the command is given again, from the last checkpoint.  `--limit`,
`--test` and `--epochs-divided-by` rehearse it in small: docs/training.md.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

MUON = ["--optimizer", "muon", "--flips", "alternating"]

Training = tuple[str, list[str]]
"""The schedule, and other options of `spikeclip-train`."""

TEACHER: Training = (
    "1x40",
    ["--twin", "--network", "resnet", "--preset", "spike-driven-medium", *MUON, "--cutout", "12"],
)

ENCODERS: dict[str, Training] = {
    "spike-driven-medium": ("1x37,2x28", ["--preset", "spike-driven-medium", "--time-steps", "2"]),
    "paper-medium": ("1x35,4x17", ["--preset", "paper-medium"]),
    "spike-driven-economical": ("1x96", ["--preset", "spike-driven-small-early", "--time-steps", "1"]),
}
"""By the checkpoint that is written."""

STUDENT = ["--stage", "dual", "--kl-weight", "2", "--kl-temperature", "2", *MUON, "--cutout", "8"]

LARGEST_PART = 15 * 2**20
"""Bytes of a file that is brought back."""

LOOK = 0.5
"""Seconds between two looks at what runs."""


def divided(schedule: str, by: int) -> str:
    """A schedule STEPSxEPOCHS,... with as few epochs as a rehearsal needs."""
    pairs = (pair.split("x") for pair in schedule.split(","))
    return ",".join(f"{steps}x{max(1, int(epochs) // by)}" for steps, epochs in pairs)


def run(commands: dict[Path, list[str]], end: float) -> bool:
    """Run commands side by side, each with a log beside its checkpoint; whether all ended well by the time `end`."""
    running: dict[Path, subprocess.Popen[bytes]] = {}
    for checkpoint, command in commands.items():
        print(" ".join(command[2:]), flush=True)
        with checkpoint.with_suffix(".out").open("ab") as log:
            running[checkpoint] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    while time.monotonic() < end and any(process.poll() is None for process in running.values()):
        time.sleep(LOOK)
    for checkpoint, process in running.items():
        if process.poll() is None:
            process.kill()
            print(f"{checkpoint}: its minutes are over; the same command goes on", flush=True)
        elif process.returncode:
            print(f"{checkpoint}: failed, {process.returncode}; see {checkpoint.with_suffix('.out')}", flush=True)
        process.wait()
    return not any(process.returncode for process in running.values())


def main(found: argparse.Namespace) -> int:
    """Train what is left to train; 0 where all is done, else 1."""
    end = time.monotonic() + 60 * found.minutes
    found.runs.mkdir(parents=True, exist_ok=True)
    common = ["--data", f"{found.data}:train", "--test", found.test or f"{found.data}:test", "--labels", found.labels]
    common += ["--batch-size", str(found.batch_size), "--save-every", str(found.save_every)]
    if found.limit:
        common += ["--limit", str(found.limit)]

    def left(trainings: dict[str, Training]) -> dict[Path, list[str]]:
        """Commands by the checkpoints that are not finished."""
        paths = {found.runs / f"{name}.safetensors": training for name, training in trainings.items()}
        return {
            path: [
                *(sys.executable, "-m", "spikeclip", "train", *common, *options),
                *("--schedule", divided(schedule, found.epochs_divided_by), "-o", str(path)),
            ]
            for path, (schedule, options) in paths.items()
            if not path.is_file() or path.with_name(path.name + ".resume").is_file()
        }

    learns = [*STUDENT, "--teacher", str(found.runs / "teacher.safetensors")]
    done = run(left({"teacher": TEACHER}), end)
    done = done and run(left({name: (schedule, [*own, *learns]) for name, (schedule, own) in ENCODERS.items()}), end)
    if found.results:
        files = [file for name in ENCODERS for file in sorted(found.runs.glob(f"{name}.*")) if file.suffix != ".resume"]
        pack(files, found.results)
    return 0 if done else 1


def pack(files: list[Path], folder: Path) -> None:
    """Write files as one archive in parts that may be brought back: `cat results.tar.part* | tar x`."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in files:
            tar.add(file, file.name)
    content = archive.getvalue()
    for i, start in enumerate(range(0, len(content), LARGEST_PART)):
        (folder / f"results.tar.part{i}").write_bytes(content[start : start + LARGEST_PART])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="cifar10:DIR")
    parser.add_argument("--test", help="images to measure on; those of --data by default")
    parser.add_argument("--labels", required=True, help="FILE.npz:KEY")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--results", type=Path, help="folder for copies in parts of 15 MiB at most")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--save-every", type=int, default=10)
    parser.add_argument("--limit", type=int, help="take the first N images only")
    parser.add_argument("--epochs-divided-by", type=int, default=1)
    sys.exit(main(parser.parse_args()))
