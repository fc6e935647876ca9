"""The page of a run: the template `run.html.j2`, filled."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from neuromorphic.inspection.drawing import STYLE, inline
from neuromorphic.ir.parity import Mismatch, ParityReport
from neuromorphic.pages import render
from neuromorphic.runs.content import SHOWN, Run, nodes, raster

THUMBNAIL = 96
"""Pixels of the longer side of a picture, at most."""


def html(run: Run) -> str:
    """The whole page."""
    comparisons, answers = run.comparisons, run.totals.answers
    first = next((report.first_mismatch for report in comparisons.values() if report.first_mismatch), None)
    placement = run.placed()
    every = nodes(run, placement)
    data = {
        "nodes": every,
        "depth": run.found.timing.depth,
        "steps": answers.time_steps,
        "raster": raster(run, first),
        "first": None if first is None else _place(first, run.first.spikes[first.node].shape),
    }
    shown = [] if run.images is None else [_png(image) for image in run.images[:SHOWN]]
    return render(
        "neuromorphic.runs",
        "run.html.j2",
        style="run.css",
        script="run.js",
        name=Path(run.found.graph.source).name,
        trace=answers,
        neurons=run.totals.neurons,
        spikes=run.totals.spikes,
        rate=run.totals.rate,
        accuracy=run.accuracy,
        comparisons=comparisons,
        verdicts=[_verdict(name, report) for name, report in comparisons.items()],
        described=list(run.described)[:SHOWN],
        pictures=shown,
        nodes=every,
        populations=[node for node in every if node["rates"] is not None],
        said=run.said,
        placement=placement,
        graph=Markup(inline(run.found)),
        graph_style=Markup(f".graph {{ {STYLE} }}"),
        data=_json(data),
    )


def _verdict(name: str, report: ParityReport) -> str:
    """A comparison in one sentence."""
    agree = f"{report.predictions_agree} of {report.images} predictions agree"
    if not report.mismatches:
        return f"Every spike as in {name}: {report.spikes_compared:,} compared, none differs; {agree}."
    share = report.mismatches / report.spikes_compared
    differ = f"{report.mismatches:,} of {report.spikes_compared:,} spikes ({share:.2%}) differ from {name}"
    return f"{differ}; {agree}. First: {report.first_mismatch}."


def _place(first: Mismatch, shape: tuple[int, ...]) -> dict[str, Any]:
    flat = int(np.ravel_multi_index(first.index, shape))
    return {"image": first.image, "step": first.step, "node": first.node, "flat": flat}


def _png(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    picture = Image.fromarray(image)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _json(data: object) -> Markup:
    """JSON for a script element, which no text in it can end: every `<`, `>` and `&` is escaped."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
