"""The notebooks of the docs: they run, and hold what they show."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.run_notebooks import CellFailed, outputs

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))

BYTES = 200_000
"""What a notebook may take with its outputs."""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    shutil.copy(path, tmp_path)
    command = [sys.executable, "-W", "ignore", ROOT / "scripts" / "run_notebooks.py", tmp_path / path.name]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_executed_small_and_of_no_machine(path):
    text = path.read_text()
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert any(cell["outputs"] for cell in code)
    assert len(text) <= BYTES
    assert not any(place in text for place in ("/tmp/", "/home/", "/root/", "Traceback"))


def test_a_cell_shows_what_it_prints_and_its_last_value():
    names: dict[str, object] = {}
    printed, value = outputs("print('a')\nx = 2\nx * 21", names, 7)
    assert printed == {"output_type": "stream", "name": "stdout", "text": ["a\n"]}
    assert (value["data"], value["execution_count"]) == ({"text/plain": ["42"]}, 7)
    assert outputs("x;", names, 8) == []
    assert outputs("x = None\nx", names, 9) == []


def test_a_value_with_html_is_shown_as_such():
    source = "class A:\n    def _repr_html_(self):\n        return '<b>a</b>'\nA()"
    (value,) = outputs(source, {}, 1)
    assert value["data"]["text/html"] == ["<b>a</b>"]


def test_lines_of_the_shell_go_on_behind_a_backslash():
    (printed,) = outputs("for i in range(2):\n    !echo one \\\n        two\n!echo $((1 + 1))", {}, 1)
    assert "".join(printed["text"]) == "one two\none two\n2\n"


def test_a_figure_is_kept_and_closed():
    (shown,) = outputs("from matplotlib import pyplot\npyplot.plot([1, 2]);", {}, 1)
    assert base64.b64decode(shown["data"]["image/png"]).startswith(b"\x89PNG")
    assert outputs("pyplot.get_fignums() or None", {"pyplot": __import__("matplotlib.pyplot").pyplot}, 2) == []


@pytest.mark.parametrize("source", ["1 / 0", "!exit 3", "!spikeclip-no-such-command"])
def test_a_cell_that_fails_is_named(source):
    with pytest.raises(CellFailed, match="|".join(("1 / 0", "exit 3", "no-such"))):
        outputs(source, {}, 1)
