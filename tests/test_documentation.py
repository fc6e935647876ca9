"""What README and docs tell people to type: every option exists, and what stands in a block of code runs as it stands.

CIFAR-10, a published checkpoint, a CLIP, a SLURM and other people's files are stood in for by small ones of the same
layout; `DIR`, `FILE.npz:KEY` and the like are what they are called there.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from typer.core import TyperCommand
from typer.main import get_command

from neuromorphic.reading.read import read_graph
from spikeclip.commands import COMMANDS
from tests.stand_ins import fill

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    "pip install spikeclip-0.1.0-py3-none-any.whl": "it installs; scripts/check_wheel.py does it by links",
    "pip install 'spikeclip[cluster]'": "it installs",
    "spikeclip doctor --install-lava": "it installs",
    "python3 -m venv .venv": "it makes the environment of the next three",
    ".venv/bin/pip install torch==2.13.0": "it installs",
    ".venv/bin/pip install --no-deps --ignore-requires-python -r requirements.lock": "it installs",
    ".venv/bin/pip install --no-deps --no-build-isolation --editable .": "it installs",
    "bash .ci/run": "it is what runs the tests",
    ".venv/bin/pip freeze --exclude-editable --exclude torch": "pip is left alone",
    "make .venv": ".ci/run begins with it",
    "make demo": ".ci/run runs it",
    "make test": ".ci/run runs it",
    "make test-slow": "it runs this file",
    "make tutorials": "tests/test_tutorials.py runs each notebook",
    "make readers": ".ci/run runs it",
    "python scripts/train_on_gpu.py --data cifar10:DIR --labels FILE.npz:KEY --minutes 13 --results FOLDER": (
        "it fills a GPU for 13 minutes; its rehearsal, docs/training.md, is run"
    ),
    "OMP_NUM_THREADS=1 nice python -m benchmarks.ablation --data cifar10:DIR:train --test cifar10:DIR:test "
    "--labels FILE.npz:KEY -o ablation": "it trains twelve encoders for hours",
    "cd loihi && python network.py --sim": "Lava's own convolutions take hours; the page's other network is run",
    "cd tests/data/foreign && python write.py LIBRARY FOLDER": "it takes the library, in an environment of its own",
}
"""Commands that aren't executed, as they stand but for comments, and why not."""

COLUMNS, LINES = 120, 120
"""What README may take."""

PROGRAM = (
    r"(?:cd \S+ && )?(?:\w+=\S+ |nice )*(?:\.venv/bin/)?"
    r"(?:spikeclip[ -](?![\d.]+-py|onnx\b)|python3? (?:-m |[\w/]+\.py\b)|torchrun |pip |make |bash |dask )"
)
"""How a command begins, in contrast to the name of the wheel and of the format of our `.onnx`."""


def commands(page: Path) -> Iterator[str]:
    """The commands in a page's code blocks, continued lines joined, without comments."""
    text = re.sub(r" *\\\n +", " ", page.read_text())
    yield from (re.sub(r" +# .*", "", c) for c in re.findall(rf"^ {{4}}(?:\$ )?({PROGRAM}.*)$", text, re.MULTILINE))


def mentioned(page: Path) -> Iterator[str]:
    """The commands in a page's sentences and tables, without what is between brackets, which may be left out."""
    for command in re.findall(rf"`({PROGRAM}[^`]*)`", page.read_text().replace("\n", " ")):
        yield re.sub(r" *\[.*?\]", "", command)


@cache
def parser(name: str) -> TyperCommand:
    """What reads the options of a command of that name."""
    return get_command(import_module(COMMANDS[name].module).app)


SHOWN = [(page, command) for page in PAGES for command in commands(page)]
MENTIONED = [(page, command) for page in PAGES for command in mentioned(page)]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def check(command: str) -> None:
    """Assert that what a command names is there, and that one of ours has its options."""
    folder, command = re.fullmatch(r"(?:cd (\S+) && )?(?:\w+=\S+ |nice )*(.*)", command).groups()
    program, *arguments = shlex.split(re.sub(r"^torchrun .* (?=spikeclip-)", "", command))
    match Path(program).name, arguments:
        case "make", targets:
            rules = (ROOT / "Makefile").read_text()
            assert all(
                re.search(rf"^{re.escape(target)}:", rules, re.MULTILINE) for target in targets if "=" not in target
            )
        case "pip", _:
            assert set(re.findall(r"\[(.*?)\]", command)) <= set(EXTRAS)
        case "python" | "python3", ["-m", module, *_] if module.startswith("benchmarks"):
            place = ROOT / module.replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()
        case "python", [script, *_] if script != "-m":
            assert Path(script).name == "network.py" or (ROOT / (folder or "") / script).is_file()  # as deploy names it
        case "spikeclip", [option] if option.startswith("-"):
            pass
        case name, _ if name.startswith("spikeclip"):
            name = name.removeprefix("spikeclip").removeprefix("-") or arguments.pop(0)
            options = {option for each in parser(name).params for option in (*each.opts, *each.secondary_opts)}
            assert {word for word in arguments if re.match(r"-[-a-zA-Z]", word)} <= options | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_has_its_options_and_files(page):
    for command in (*commands(page), *mentioned(page)):
        check(command)


@pytest.mark.parametrize(
    "command", ["spikeclip-simulate a.nir --no-such-option", "spikeclip simulat", "make cofee", "python docs/none.py",
                "pip install 'spikeclip[every]'", "python -m benchmarks.none"],
)  # fmt: skip
def test_a_command_that_is_not_there_would_be_found(command):
    with pytest.raises((AssertionError, KeyError)):
        check(command)


OTHERS = """
import json, sys
from importlib import import_module
from importlib.util import find_spec
import typer
from typer.main import get_command

for module, *arguments in json.load(sys.stdin):
    package = find_spec(module).submodule_search_locations is not None
    app = typer.Typer()
    app.command()(import_module(module + ".__main__" * package).main)
    get_command(app).make_context(module, arguments)
"""


@pytest.mark.slow
def test_every_benchmark_has_its_options():
    """In a process of its own: benchmarks replace packages that others import."""
    shown = [shlex.split(command) for _, command in (*SHOWN, *MENTIONED) if "python -m benchmarks" in command]
    found = [words[words.index("-m") + 1 :] for words in shown]
    assert len(found) > 20
    done = subprocess.run(
        [sys.executable, "-c", OTHERS], input=json.dumps(found), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


OF_OTHERS = {
    "--help",
    "--install-completion",
    "--no-deps",
    "--sim",
    "--hw",
    "--quick",
    "--only",
    "--again",
}
"""Options named by themselves that aren't of our commands: of pip, of a deployed folder, of benchmarks and scripts."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_option_in_a_sentence_is_there(page):
    known = {
        option
        for name in COMMANDS
        for parameter in parser(name).params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    named = re.findall(r"`(--[a-z][\w-]+)[^`\n]*`", page.read_text())
    assert set(named) <= known | OF_OTHERS


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > COLUMNS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "docs").glob("*/*.md"))], ids=lambda page: page.stem)
def test_anchors_are_headings(page):
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


def environment(folder: Path) -> dict[str, str]:
    """Commands are those of this environment, but for stand-ins in `folder`; modules are those of this checkout."""
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(folder: Path, command: str) -> None:
    assert not re.search(r"(^|[ /])(pip|make) |-m venv|--install-lava", command), "it would change this environment"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@contextmanager
def serving(folder: Path, command: str) -> Iterator[None]:
    """A command that runs until it is ended."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(["bash", "-c", command], cwd=folder, env=environment(folder), **quiet) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


RUN = [page for page in PAGES if any(command not in NOT_RUN for command in commands(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_a_page_runs_from_its_first_command_to_its_last(page, tmp_path):
    fill(tmp_path, page.stem)
    with ExitStack() as servers:
        for command in commands(page):
            if command.startswith("dask "):
                servers.enter_context(serving(tmp_path, command.replace("HOST", "localhost")))
            elif command not in NOT_RUN:
                run(tmp_path, command.replace("HOST", "localhost"))


@pytest.mark.slow
def test_what_the_pages_show_of_the_shipped_encoder_is_what_it_is(tmp_path):
    """The listing and the picture of docs/inspect.md, and the certificate's entry in docs/exactness.md."""
    run(tmp_path, "spikeclip export spike-driven-small -o spike-driven-small.nir")
    run(tmp_path, "spikeclip inspect spike-driven-small.nir --svg inspect.svg > listing.txt")
    assert (tmp_path / "inspect.svg").read_text() == (ROOT / "docs" / "inspect.svg").read_text()
    printed = {" ".join(line.split()) for line in (tmp_path / "listing.txt").read_text().splitlines()}
    block = re.search(r"^    node .*\n(?:    .*\n)+", (ROOT / "docs" / "inspect.md").read_text(), re.MULTILINE)
    assert {" ".join(line.split()) for line in block.group().splitlines()} - {"..."} <= printed
    page = (ROOT / "docs" / "exactness.md").read_text()
    name, claim = re.search(r'^    "(.*)": (\{"bound": .*), \.\.\.}$', page, re.MULTILINE).groups()
    proof = read_graph(tmp_path / "spike-driven-small.nir").metadata.document["certificate"]["nodes"][name]
    assert json.loads(claim + "}").items() <= {**proof, "bound": round(proof["bound"], 2)}.items()


def test_what_is_not_run_stands_in_a_page():
    assert sorted(NOT_RUN) == sorted(set(NOT_RUN) & {command for _, command in SHOWN})


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
