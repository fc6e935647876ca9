"""What README and docs tell people to type: every option exists, and the pages to start from run as they stand.

CIFAR-10, a published checkpoint and other people's files are stood in for by small ones of the same layout.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.core import TyperCommand
from typer.main import get_command

from spikeclip.commands import COMMANDS
from tests.stand_ins import fill

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))

LEFT_OUT = ("openai/", "--install-lava", "tcp://HOST", "cpu.yaml")
"""Of commands that aren't run: they load a CLIP from a hub, install, or ask other machines."""

COLUMNS, LINES = 120, 120
"""What README may take."""


def commands(page: Path) -> Iterator[str]:
    """The commands in a page's code blocks, continued lines joined."""
    text = re.sub(r" *\\\n +", " ", page.read_text())
    shown = re.findall(r"^ {4}(?:\$ )?((?:\.venv/bin/)?spikeclip[ -].*|python docs/.*)$", text, re.MULTILINE)
    yield from (command for command in shown if not re.match(r"spikeclip-[\d.]+-", command))  # the wheel's name


@cache
def parser(name: str) -> TyperCommand:
    """What reads the options of a command of that name."""
    return get_command(import_module(COMMANDS[name].module).app)


def words(command: str) -> list[str]:
    """Without what is between brackets, which may be left out, and without comments."""
    return shlex.split(re.sub(r"\[.*?\]", "", command), comments=True)


RECIPES = ("results", "training")
"""Pages whose commands take hours, with parts left open."""

WHOLE = [page for page in PAGES if page.stem not in RECIPES and any(commands(page))]
"""Pages whose commands are run, in their order, in one folder."""

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
    parser(name).make_context(name, arguments)  # raises what typer says of an option that there isn't


def test_a_command_that_is_not_there_would_be_found():
    with pytest.raises(Exception, match="No such option"):
        parser("simulate").make_context("simulate", ["a.nir", "--no-such-option"])
    assert issubclass(typer.BadParameter, Exception)


OF_OTHERS = {
    "--help",
    "--install-completion",
    "--no-deps",
    "--sim",
    "--hw",
    "--quick",
    "--cases",
    "--tries",
    "--only",
    "--chip",
    "--counts",
    "--random",
    "--total",
    "--again",
}
"""Options in sentences that aren't of our commands: of pip, of a deployed folder, of benchmarks and scripts."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_option_in_a_sentence_is_there(page):
    known = {
        option
        for name in COMMANDS
        for parameter in parser(name).params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    named = re.findall(r"`[^`\n]*?(--[a-z][\w-]+)[^`\n]*`", page.read_text())
    assert set(named) <= known | OF_OTHERS


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > COLUMNS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


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
@pytest.mark.parametrize("page", WHOLE, ids=lambda page: page.stem)
def test_a_page_runs_from_its_first_command_to_its_last(page, tmp_path):
    fill(tmp_path, page.stem)
    for command in commands(page):
        if not any(word in command for word in LEFT_OUT):
            run(tmp_path, command)


def test_what_is_left_out_stands_in_a_page():
    shown = [command for page in WHOLE for command in commands(page)]
    assert [word for word in LEFT_OUT if not any(word in command for command in shown)] == []


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
    sources = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]  # notebooks become pages
    assert sorted(listed) == sorted(p.relative_to(ROOT / "docs").with_suffix(".md").as_posix() for p in sources)
