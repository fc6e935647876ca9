"""The wheel, built and installed away from the source tree beside the core's dependencies only, and its commands run.

python scripts/check_wheel.py MODEL.nir        (make wheel)

Nothing is downloaded: the dependencies that the wheel declares are linked from the environment that runs this.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

ROOT = Path(__file__).parent.parent

PACKAGES = ("spikeclip", "export", "neuromorphic", "energy")


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The distributions that these need, without any extra, by name."""
    found: dict[str, Distribution] = {}
    waiting = list(requirements)
    while waiting:
        wanted = Requirement(waiting.pop())
        name = canonicalize_name(wanted.name)
        if name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found[name] = distribution(name)
            waiting += found[name].requires or ()
    return found


def link(found: Distribution, site: Path) -> None:
    """Put links to what a distribution installed into the folder `site`."""
    for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
        (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())


def run(folder: Path, *command: str | Path, code: int = 0) -> str:
    """Everything that a command prints on both its outputs.

    Raises:
        SystemExit: it ended with another exit code than `code`.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=folder)
    print("$", Path(command[0]).name, *command[1:], f"-> {done.returncode}", flush=True)
    if done.returncode != code:
        raise SystemExit(f"expected exit code {code}:\n{done.stdout}")
    return done.stdout


def install(folder: Path) -> Path:
    """Build the wheel and install it in a new environment in `folder`; the folder of its commands."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    source = folder / "source"  # a copy: what setuptools leaves in a tree goes into its next wheel
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    run(source, *pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ".")
    (wheel,) = folder.glob("spikeclip-*.whl")
    run(folder, sys.executable, "-m", "venv", "--without-pip", "environment")
    python = folder / "environment" / "bin" / "python"
    run(folder, *pip, "--python", python, "install", "-q", "--no-deps", wheel)
    (site,) = folder.glob("environment/lib/python*/site-packages")
    (installed,) = distributions(name="spikeclip", path=[str(site)])
    for found in closure(installed.requires or ()).values():
        link(found, site)
    return python.parent


def main(model: Path) -> None:
    """Run what the core has, and see that what it lacks is refused in one sentence."""
    with tempfile.TemporaryDirectory(prefix="spikeclip-wheel-") as name:
        folder = Path(name)
        bin_folder = install(folder)
        spikeclip = bin_folder / "spikeclip"
        noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(folder / "noise.png")
        run(folder, spikeclip, "--version")
        run(folder, bin_folder / "python", "-m", "spikeclip", "--help")
        run(folder, spikeclip, "doctor")
        run(folder, spikeclip, "inspect", model, "--svg", "graph.svg")
        for backend in ("reference", "fast"):
            shown = ("--images", "noise.png", "--backend", backend, "--json", f"{backend}.json")
            run(folder, spikeclip, "simulate", model, *shown)
        one, other = (json.loads((folder / f"{backend}.json").read_text()) for backend in ("reference", "fast"))
        if one["spikes"] != other["spikes"]:
            raise SystemExit("the reference and the fast executor differ")
        integers = ("--precision", "loihi2", "--calibrate", "noise.png", "--backend", "fast")
        pages = ("--placement", "cores.json", "--html", "run.html")
        run(folder, spikeclip, "simulate", model, "--images", "noise.png", *integers, *pages)
        run(folder, bin_folder / "spikeclip-energy", model, "--images", "noise.png", "--html", "report.html")
        lacking = {
            "torch": ("export", "spike-driven-small", "-o", "model.nir"),
            "Lava": ("simulate", model, "--images", "noise.png"),
            "skimage": ("simulate", model, "--images", "samples", "--backend", "fast"),
        }
        for package, arguments in lacking.items():
            said = run(folder, spikeclip, *arguments, code=2)
            if not said.startswith(f"error: {package} is not installed; expected") or said.count("\n") != 1:
                raise SystemExit(f"expected one sentence about {package}:\n{said}")
    print("the wheel holds what its commands need")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
