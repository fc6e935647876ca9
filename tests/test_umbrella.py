"""`spikeclip COMMAND`: every command under one name."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from spikeclip.commands import COMMANDS

ROOT = Path(__file__).parents[1]


def said(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spikeclip", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_console_script_is_a_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    named = {name.removeprefix("spikeclip-"): place for name, place in scripts.items() if name != "spikeclip"}
    assert named == {name: f"{command.module}:main" for name, command in COMMANDS.items()}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_is_the_application_of_its_module(name):
    assert callable(import_module(COMMANDS[name].module).app)


def test_help_lists_the_commands_and_what_they_do():
    found = said("--help")
    assert found.returncode == 0
    for name, command in COMMANDS.items():
        assert f"{name} " in found.stdout
        assert command.does.split()[0] in found.stdout


def test_a_misspelled_command_is_refused_with_the_one_that_was_meant():
    found = said("simulat", "model.nir")
    assert found.returncode == 2
    assert "Did you mean 'simulate'?" in found.stderr


def test_the_version_is_that_of_the_package():
    assert said("--version").stdout.split() == ["spikeclip", "0.1.0"]


def test_a_command_gets_its_arguments_and_its_exit_code(tmp_path):
    found = said("inspect", str(tmp_path / "none.nir"))
    assert found.returncode == 2
    assert "none.nir" in found.stderr
