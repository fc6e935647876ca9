"""The chip's integers of `spikeclip-simulate --precision loihi2`: quantised where they have to be, widths watched."""

from pathlib import Path

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace
from neuromorphic.loihi2.certificate import certify
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.quantise import calibrate as find_scheme
from neuromorphic.loihi2.quantise import with_scheme
from neuromorphic.loihi2.scheme import Granularity
from neuromorphic.reading.frames import FrameOptions, named_files
from neuromorphic.reading.recordings import is_recording
from neuromorphic.runs.cli_inputs import find_inputs, frames_of
from neuromorphic.runs.summary import widths
from spikeclip.console import console, progress_bar


def integers_of(
    model: Path,
    floats: Graph,
    calibrate: list[str] | None,
    count: int,
    layout: FrameOptions,
    granularity: Granularity,
    quantized: Path | None,
) -> Graph:
    """The integer graph of the file `model`, quantised here unless it is already.

    Args:
        model: the file that `floats` were read from.
        floats: the graph.
        calibrate: SPEC of images, or files of frames as of `--frames`, to quantise it on; None for none.
        count: take the first so many of them.
        layout: what a file of frames leaves open.
        granularity: what weights share an exponent in.
        quantized: where the quantised graph is written; None for nowhere.

    Raises:
        RefusedInput: there is nothing to quantise it on, or it is quantised already and an option says otherwise.
    """
    graph = integer_graph(floats)
    if graph is floats and quantized is None:  # a netx file: integers without floats behind them
        if calibrate:
            console.print("the file holds integers: --calibrate changes nothing", markup=False)
        return graph
    if graph is not None:
        if calibrate or quantized:
            raise RefusedInput(f"{model}: is quantised already; expected no --calibrate and no --save-quantized")
        return graph
    if not calibrate:
        raise RefusedInput(
            f"{model}: is not quantised; expected --calibrate SPEC, images (or FILE.npy, frames) to quantise it on"
        )
    files, spec = named_files(calibrate), calibrate[0]
    recorded = floats.metadata.preprocessing is None or Path(spec).suffix == ".npy" or is_recording(Path(spec))
    shown = find_inputs(floats, None if recorded else spec, files if recorded else {}, layout, count)
    with progress_bar("quantising") as advance:
        rounded, scheme = find_scheme(floats, frames_of(floats, shown), granularity, progress=advance)
    if quantized is not None:
        write_quantised(model, rounded, scheme, quantized)
    return integers(with_scheme(rounded, scheme), scheme)


def widths_of(graph: Graph, answers: Trace) -> list[str]:
    """Whether u and v keep to their widths, in sentences: by proof, and where there is none, in the run."""
    return widths(certify(graph), answers.overflows or {})
