"""Executes notebooks in one process, without Jupyter, and keeps what their cells show.

python scripts/run_notebooks.py NOTEBOOK.ipynb...        (make tutorials)

A cell is Python; a line that begins with `!` is a command of the shell, as in Jupyter.  Its outputs are what it prints,
the value of its last expression (as text, and as HTML where the value has it), and matplotlib's figures.  Each notebook
runs in an empty folder.
"""

import ast
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

DOTS = 72
"""Of a figure, per inch."""


class CellFailed(RuntimeError):
    """A cell raised; the message holds its source and the traceback."""


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """`notebook` with the outputs of its code cells, run one after the other in the current folder.

    Args:
        notebook: the JSON of an `.ipynb`, format 4.

    Raises:
        CellFailed: a cell raised.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell = {**cell, "execution_count": count, "outputs": outputs("".join(cell["source"]), names, count)}
        cells.append(cell)
    return {**notebook, "cells": cells}


def outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The outputs of the cell `source` when it runs with `names`, which it may change."""
    printed = StringIO()
    try:
        with redirect_stdout(printed):
            value = _run(source, names)
    except Exception as error:
        raise CellFailed(f"{source}\n\n{printed.getvalue()}\n{traceback.format_exc()}") from error
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    found += [_data({"image/png": png}) for png in _figures()]
    if value is not None:
        shown = {"text/plain": _lines(repr(value))}
        if html := getattr(value, "_repr_html_", lambda: None)():
            shown["text/html"] = _lines(html)
        found.append({**_data(shown), "output_type": "execute_result", "execution_count": count})
    return found


def _run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, where that is an expression and doesn't end in a semicolon."""
    names["_shell"] = _shell
    python = re.sub(r"^( *)!((?:.*\\\n)*.*)$", lambda m: f"{m[1]}_shell({m[2]!r})", source, flags=re.MULTILINE)
    body = ast.parse(python).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) and not source.rstrip().endswith(";") else None
    exec(compile(ast.Module(body, []), "<cell>", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


def _shell(command: str) -> None:
    """Print what a command of the shell has for results; its progress is left out.

    Raises:
        RuntimeError: it ended with an exit code other than 0.
    """
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")


def _figures() -> Iterator[str]:
    """PNG in base64 of what matplotlib has open; it is closed."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    for number in pyplot.get_fignums() if pyplot else ():
        image = BytesIO()
        pyplot.figure(number).savefig(image, format="png", dpi=DOTS, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(number)
        yield base64.b64encode(image.getvalue()).decode()


def _data(shown: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "data": shown, "metadata": {}}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


@contextmanager
def folder() -> Iterator[None]:
    """An empty folder as the current one; commands of this environment are found first."""
    before, path = Path.cwd(), os.environ.get("PATH", "")
    with tempfile.TemporaryDirectory(prefix="spikeclip-notebook-") as name:
        os.chdir(name)
        os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{path}", MPLBACKEND="agg")
        try:
            yield
        finally:
            os.chdir(before)
            os.environ["PATH"] = path


def main(paths: list[Path]) -> None:
    """Execute notebooks in place."""
    for path in map(Path.resolve, paths):
        with folder():
            done = execute(json.loads(path.read_text()))
        path.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
