"""`spikeclip`: one name for every command, quick help, and what is said of what is missing or misspelled."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from neuromorphic.errors import RefusedInput, meant
from spikeclip import commands, doctor, entry, missing
from spikeclip.console import HELP_WIDTH, examples, refusals

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

HEAVY = {"numpy", "torch", "pydantic", "h5py", "nir", "matplotlib", "scipy", "markdown_it"}
"""What no help needs: each takes longer to load than everything else together."""


def spikeclip(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spikeclip", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_every_command_has_a_script_of_its_own_but_doctor():
    names = ["spikeclip", *(f"spikeclip-{name}" for name in commands.COMMANDS if name != "doctor")]
    assert PROJECT["scripts"] == dict.fromkeys(names, "spikeclip.entry:main")


@pytest.mark.parametrize(
    ("called", "usage"),
    [("spikeclip-train-text", "spikeclip-train-text"), ("spikeclip-inspect.exe", "spikeclip-inspect"),
     ("__main__.py", "spikeclip"), ("spikeclip", "spikeclip")],
)  # fmt: skip
def test_a_script_runs_the_command_that_it_is_called_like(called, usage, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"/somewhere/{called}", "--help"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests go on when it is over
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code in (0, None)
    assert capsys.readouterr().out.lstrip().startswith(f"Usage: {usage} ")


@pytest.mark.parametrize("module", ["typer", "rich.console", "numpy"])
def test_an_interrupt_while_a_command_loads_is_no_traceback(module):
    """The interrupt comes at the moment when `module` is loaded."""
    code = (
        "import builtins, sys\n"
        "healthy = builtins.__import__\n"
        "def load(name, *rest):\n"
        f"    if name == {module!r}: raise KeyboardInterrupt\n"
        "    return healthy(name, *rest)\n"
        "builtins.__import__ = load\n"
        "sys.argv = ['spikeclip-simulate', 'model.nir', '--frames', 'x.npy']\n"
        "from spikeclip.entry import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_while_python_ends_is_no_traceback():
    code = (
        "import atexit, os, signal, sys\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "sys.argv = ['spikeclip', '--version']\n"
        "from spikeclip.entry import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert done.stdout.startswith("spikeclip ")


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_loads_nothing_heavy_and_ends_with_examples_that_fit(name):
    code = (
        f"import sys; sys.argv = ['spikeclip', {name!r}, '--help']\n"
        "from spikeclip.commands import main\n"
        "try: main()\n"
        f"finally: print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.startswith(f"Usage: spikeclip {name} ")
    _, shown = re.split(r"\n  Examples?:\n", done.stdout)
    lines = shown.rstrip("\n").split("\n")
    assert all(len(line) <= HELP_WIDTH + 2 for line in lines)
    for command in re.sub(r" \\\n +", " ", shown).splitlines():
        words = command.split()
        assert words[:2] == ["spikeclip", name] or words[0] == "torchrun"


def test_words_between_colons_are_no_pictures(capsys):
    from spikeclip.console import console, results

    for each, said in ((results, "out"), (console, "err")):
        each.print("module:factory: your network, :smile:.nir", markup=False)
        assert getattr(capsys.readouterr(), said) == "module:factory: your network, :smile:.nir\n"


def test_the_list_of_commands_loads_none_of_them():
    done = spikeclip("--help")
    assert done.returncode == 0
    listed = re.search(r"\nCommands:\n(.*?)\n\n", done.stdout, re.DOTALL)
    assert listed is not None
    assert [line.split()[0] for line in listed[1].splitlines()] == list(commands.COMMANDS)
    assert "..." not in listed[1]


def test_a_command_runs_with_its_options(tmp_path):
    done = spikeclip("inspect", str(tmp_path / "none.nir"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "none.nir" in done.stderr


def test_version_is_the_projects():
    assert spikeclip("--version").stdout == f"spikeclip {PROJECT['version']}\n"


def test_a_misspelled_command_is_refused_with_the_one_that_was_meant():
    done = spikeclip("simluate")
    assert done.returncode == 2
    assert "Did you mean 'simulate'?" in done.stderr


def test_completion_offers_commands_and_their_options():
    asked = {"_SPIKECLIP_COMPLETE": "complete_bash"}
    commands_found = spikeclip(COMP_WORDS="spikeclip si", COMP_CWORD="1", **asked).stdout.split()
    assert commands_found == ["simulate"]
    options = spikeclip(COMP_WORDS="spikeclip simulate --back", COMP_CWORD="2", **asked).stdout.split()
    assert options == ["--backend"]


def test_long_examples_go_on_behind_a_backslash():
    shown = examples("run --first " + "a" * 40 + " --second " + "b" * 40, "run").split("\n")
    assert shown[1] == "Examples:"
    assert shown[2:] == ["  run --first " + "a" * 40 + " \\", "      --second " + "b" * 40, "  run"]


@pytest.mark.parametrize(
    ("name", "known", "found"), [("Lava", ["lava"], "lava"), ("45nm_fp32", ["45nm-fp32"], "45nm-fp32")]
)
def test_a_name_that_is_spelled_like_a_known_one_is_guessed(name, known, found):
    assert meant(name, known) == f"; did you mean {found!r}?"


def test_a_name_unlike_all_known_ones_is_not_guessed():
    assert meant("zebra", ["lava", "fast"]) == ""


@pytest.mark.parametrize(
    ("refuse", "guess"),
    [
        (lambda: import_module("spikeclip.config").preset("spike-driven-smal"), "spike-driven-small"),
        (lambda: import_module("spikeclip.checkpoint").load("paper-smal"), "paper-small"),
        (lambda: import_module("spikeclip.twin_checkpoint").load_twin("twin-smal"), "twin-small"),
        (lambda: import_module("spikeclip.recipe").find_recipe("short-clasify"), "short-classify"),
        (lambda: import_module("energy.prices").read_device("45nm-int"), "45nm-int8"),
        (lambda: import_module("spikeclip.data").load_images("cifar1O:/data:test", 32), "cifar10"),
        (lambda: import_module("spikeclip.data").load_images("sample", 32), "samples"),
    ],
)
def test_misspelled_names_are_refused_with_the_one_that_was_meant(refuse, guess):
    with pytest.raises(RefusedInput, match=rf"did you mean {re.escape(repr(guess))}\?$"):
        refuse()


@pytest.mark.parametrize(
    ("command", "option", "given", "said"),
    [
        ("simulate", "--precision", "loihi", "; did you mean 'loihi2'?"),
        ("simulate", "--backend", "fas", "; did you mean 'fast'?"),
        ("simulate", "--reset", "substract", "; did you mean 'subtract'?"),
        ("energy", "--input-kind", "spike", "; did you mean 'spikes'?"),
        ("export", "--format", "NIR", "; did you mean 'nir'?"),
        ("simulate", "--precision", "it's 8 bits", "'float', 'loihi2'."),
        ("simulate", "--limit", "many", "Input should be a valid integer"),
    ],
)
def test_a_misspelled_choice_is_refused_with_the_one_that_was_meant(command, option, given, said):
    app = import_module(commands.COMMANDS[command].module).app
    done = CliRunner().invoke(app, ["model.nir", option, given])
    assert done.exit_code == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert line.startswith(f"Error: Invalid value for '{option}': ")
    assert said in line
    assert "Value error" not in line


@pytest.mark.parametrize("package", missing.EXTRAS)
def test_a_missing_package_is_named_with_its_extra(package, monkeypatch):
    monkeypatch.setattr(missing, "find_spec", lambda name: None)
    said = missing.why_missing(ModuleNotFoundError(f"No module named '{package}.x'", name=f"{package}.x"))
    extra = missing.EXTRAS[package]
    assert said == f"{package} is not installed; expected pip install 'spikeclip[{extra}]' before"
    assert extra in PROJECT["optional-dependencies"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("energy", ["model.nir", "--ann-accuracy"]),
        ("simulate", ["model.nir", "--timeout"]),
        ("head", ["small", "--labels", "a.npz", "--data", "samples", "-o", "b.safetensors", "--spread"]),
    ],
)
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_number_that_is_none_is_refused_while_it_is_parsed(command, words, number):
    """No range of click's refuses nan."""
    app = import_module(commands.COMMANDS[command].module).app
    done = CliRunner().invoke(app, [*words, number])
    assert done.exit_code == 2
    assert "Invalid value for" in done.stderr
    assert words[-1] in done.stderr


def test_a_name_that_is_no_text_is_refused_before_anything_is_read():
    done = spikeclip("energy", "model\udcff.nir", "--frames", "frames.npy")
    assert done.returncode == 2
    assert "has bytes that are no text (UTF-8)" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_full_standard_output_costs_no_file_and_is_said(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "spikeclip", "doctor", "--json", tmp_path / "found.json"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: standard output can't be written (No space left on device)\n"
    assert (tmp_path / "found.json").is_file()


def test_letters_that_a_terminal_lacks_end_no_command():
    done = spikeclip("energy", "ünï.nir", "--frames", "x.npy", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert r"\xfcn\xef.nir" in done.stderr


def test_a_missing_package_ends_a_command_with_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(missing, "find_spec", lambda name: None)
    with pytest.raises(import_module("typer").Exit) as ended, refusals():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "error: torch is not installed; expected pip install 'spikeclip[torch]' before\n"


def test_an_unknown_missing_package_is_a_bug_of_ours():
    assert missing.why_missing(ModuleNotFoundError("No module named 'numpy.x'", name="numpy.x")) is None
    assert missing.why_missing(ImportError("broken")) is None


@pytest.mark.parametrize("package", ["energy", "export"])
def test_another_package_of_our_name_is_said_to_stand_in_its_place(package, tmp_path):
    (tmp_path / f"{package}.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "spikeclip", package, "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / package}.py was imported as {package!r} in the place of")


def test_doctor_finds_everything_of_a_complete_environment():
    result = CliRunner().invoke(import_module("spikeclip.doctor_cli").app, [])
    assert result.exit_code == 0, result.output
    for name in ("Python", "torch", "lava-nc", "onnxruntime", "transformers", "CIFAR-10"):
        assert re.search(rf"^ok +{name}|^- +CIFAR-10", result.stdout, re.MULTILINE)


def test_doctor_says_how_to_get_what_is_missing(monkeypatch):
    def version(name: str) -> str:
        if name in ("torch", "numpy"):
            raise doctor.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setattr(doctor, "try_lava", lambda: "it is broken")
    found = {each.name: each for each in doctor.findings()}
    assert found["torch"].remedy == "pip install 'spikeclip[torch]'"
    assert (found["numpy"].core, found["numpy"].remedy) == (True, "pip install spikeclip")
    assert (found["lava-nc"].ok, found["lava-nc"].found) == (False, "it is broken")
    result = CliRunner().invoke(import_module("spikeclip.doctor_cli").app, [])
    assert result.exit_code == 1
    assert re.search(r"^missing +numpy ", result.stdout, re.MULTILINE)


def test_doctor_installs_the_locked_lava_after_what_it_needs(monkeypatch):
    wanted = PROJECT["optional-dependencies"]["lava"]
    declared = ["numpy>=2", *(f'{each}; extra == "lava"' for each in wanted), 'onnx>=1; extra == "onnx"']
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: declared)
    first, last = doctor.lava_commands()
    assert first[1:] == ["-m", "pip", "install", *wanted]
    assert last[1:] == ["-m", "pip", "install", "--no-deps", "--ignore-requires-python", doctor.LAVA]
    assert doctor.LAVA in (ROOT / "requirements.lock").read_text().splitlines()


def test_without_lava_its_target_refuses_in_one_sentence(monkeypatch):
    from neuromorphic import lava
    from neuromorphic.lava import stock_limits
    from neuromorphic.reading.build import from_nir
    from neuromorphic.targets.target import TARGETS
    from tests.neuromorphic.graphs import small_net

    monkeypatch.setattr(stock_limits, "installed", lambda: False)
    assert TARGETS["lava"]().refuses(from_nir(small_net(), "small.nir")) == [lava.MISSING]


def test_the_choices_of_limits_are_the_profiles_that_there_are():
    from neuromorphic.cli import Profile
    from neuromorphic.placement import PROFILES

    assert get_args(Profile) == tuple(PROFILES)


def test_the_citation_names_the_same_version():
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("package", ["spikeclip", "export", "neuromorphic", "energy"])
def test_types_and_data_files_are_in_the_wheel(package):
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][package]
    files = [path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix != ".py"]
    found = {path for path in files if path.parent.name != "__pycache__"}  # Numba keeps its own there too
    assert found == {path for pattern in patterns for path in (ROOT / package).glob(pattern) if path.is_file()}


@pytest.mark.parametrize("package", ["spikeclip", "export", "neuromorphic", "energy"])
def test_no_public_name_is_also_a_module_whose_import_would_take_its_place(package):
    module = import_module(package)
    modules = {path.stem for path in (ROOT / package).glob("*.py")}
    shadowed = [name for name in module.__all__ if name in modules and type(getattr(module, name)) is not type(module)]
    assert not shadowed


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch, capsys):
    from spikeclip import console

    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.progress_bar("Lava") as advance:
        for done in range(1, 401):
            now[0] += 0.25
            advance(done, 1000)
    assert capsys.readouterr().err == "Lava: 120 of 1,000\nLava: 240 of 1,000\nLava: 360 of 1,000\n"


def test_short_work_without_a_terminal_says_nothing(capsys):
    from spikeclip import console

    with console.progress_bar("Lava") as advance:
        advance(1, 2)
    assert capsys.readouterr().err == ""


WITHOUT_READER = """
import sys, time
from spikeclip.console import console, results, refusals, typer
try:
    with refusals():
        for _ in range(100):
            results.print("a line")
            time.sleep(0.001)
        console.print("done")
        raise typer.Exit(3)
except typer.Exit as ended:
    sys.exit(ended.exit_code)
"""


@pytest.mark.parametrize("reader", ["| head -1", "| true", ">&-"])
def test_a_command_whose_output_nobody_reads_goes_on_to_its_end(reader):
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(WITHOUT_READER)} {reader}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, "done\n")
    assert done.stdout == ("a line\n" if "head" in reader else "")
