"""What README and docs tell people to type: every option exists, and the pages to start from run as they stand.

CIFAR-10, a published checkpoint and other people's files are stood in for by small ones of the same layout.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import nir
import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.main import get_command

from spikeclip.commands import COMMANDS
from tests.neuromorphic.graphs import small_net
from tests.spikeclip.published import random_state

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

WHOLE = ["README.md"]
"""Pages whose commands are run, in their order, in one folder."""

COLUMNS, LINES = 120, 120
"""What README may take."""


def commands(page: Path) -> Iterator[str]:
    """The commands in a page's code blocks, continued lines joined."""
    text = re.sub(r" *\\\n +", " ", page.read_text())
    yield from re.findall(r"^ {4}((?:\.venv/bin/)?spikeclip[ -].*|python docs/.*)$", text, re.MULTILINE)


def words(command: str) -> list[str]:
    """Without what is between brackets, which may be left out, and without comments."""
    return shlex.split(re.sub(r"\[.*?\]", "", command), comments=True)


DOCUMENTED = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), DOCUMENTED, ids=[f"{p.stem}-{i}" for i, (p, _) in enumerate(DOCUMENTED)])
def test_every_command_that_is_shown_has_its_options(page, command):
    program, *arguments = words(command)
    if program == "python":
        assert (ROOT / arguments[0]).is_file()
        return
    if arguments == ["--help"]:
        return
    name = Path(program).name.removeprefix("spikeclip").removeprefix("-") or arguments.pop(0)
    assert name in COMMANDS
    if "..." in arguments:
        return
    parsed = get_command(import_module(COMMANDS[name].module).app)
    parsed.make_context(name, arguments)  # raises what typer says of an option that there isn't


def test_a_command_that_is_not_there_would_be_found():
    with pytest.raises(Exception, match="No such option"):
        get_command(import_module("neuromorphic.cli").app).make_context("simulate", ["a.nir", "--no-such-option"])
    assert issubclass(typer.BadParameter, Exception)


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > COLUMNS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with everything that the pages name and don't make themselves."""
    random = np.random.default_rng(0)
    place = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "docs" / "examples", place / "docs" / "examples")
    cifar = place / "data" / "cifar-10-batches-bin"
    cifar.mkdir(parents=True)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        records = random.integers(0, 256, (4, 3073), np.uint8)
        records[:, 0] = random.permutation(10)[:4]
        records.tofile(cifar / name)
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    (cifar / "batches.meta.txt").write_text("\n".join(names.split()) + "\n")
    (place / "photos").mkdir()
    Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(place / "photos" / "one.png")
    nir.write(place / "theirs.nir", small_net())
    shape = small_net().nodes["input"].input_type["input"]
    np.save(place / "spikes.npy", (random.random((2, 4, *shape)) < 0.3).astype(np.float32))
    state = random_state(16, 1, 64, embedding=512)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, place / "model_best.pth.tar")
    return place


def run(folder: Path, command: str) -> None:
    program, *arguments = words(command)
    start = [sys.executable] if program == "python" else [sys.executable, "-m", "spikeclip"]
    if program.rpartition("/")[2].startswith("spikeclip-"):
        arguments.insert(0, program.rpartition("-")[2])
    done = subprocess.run(
        [*start, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", WHOLE)
def test_a_page_runs_from_its_first_command_to_its_last(page, folder):
    for command in commands(ROOT / page):
        run(folder, command)


@pytest.mark.parametrize("package", ["spikeclip", "export", "neuromorphic", "energy"])
def test_every_public_name_has_a_docstring_that_the_reference_shows(package):
    shown = re.findall(r"^::: (.*)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
    for name in import_module(package).__all__:
        value = getattr(import_module(package), name)
        home = value.__name__ if isinstance(value, ModuleType) else f"{getattr(value, '__module__', '')}.{name}"
        if isinstance(value, ModuleType) or callable(value):
            assert value.__doc__, name
            assert home in shown, name


def test_the_site_has_every_page():
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md"))
