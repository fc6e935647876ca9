"""`spikeclip-simulate --precision loihi2`: quantises graphs of floats, and reports on the widths of integers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace
from neuromorphic.loihi2.certificate import certify_widths
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.quantise import quantised
from neuromorphic.loihi2.scheme import Granularity
from neuromorphic.reading.frames import FrameOptions, named_files
from neuromorphic.reading.nir_data import is_nir_data
from neuromorphic.runs.cli_inputs import Selection, frames_of
from neuromorphic.runs.summary import width_sentences
from spikeclip.console import console, progress_bar


@dataclass(frozen=True)
class Quantising:
    """How a command is to quantise a graph.

    Attributes:
        calibrate: SPEC of images, or files of frames as of `--frames`, to calibrate on; empty for none.
        count: take the first so many of them.
        granularity: whether weights share an exponent in a layer, or in an output channel.
        output: file for the quantised graph; None for none.
    """

    calibrate: Sequence[str]
    count: int
    granularity: Granularity
    output: Path | None

    @property
    def read(self) -> tuple[str | Path, ...]:
        """The files that are read, which outputs must not replace."""
        return (*self.calibrate, *named_files(self.calibrate).values())

    def integers_of(self, model: Path, floats: Graph, layout: FrameOptions) -> Graph:
        """The integer graph of `floats`, the graph in the file `model`: quantised here, unless the file is.

        Raises:
            RefusedInput: there is nothing to calibrate on, or the file is quantised and an option contradicts that.
        """
        graph = integer_graph(floats)
        if graph is floats and self.output is None:  # a netx file: integers without floats behind them
            if self.calibrate:
                console.print("the file holds integers: --calibrate changes nothing", markup=False)
            return graph
        if graph is not None:
            if self.calibrate or self.output:
                raise RefusedInput(f"{model}: is quantised already; expected no --calibrate and no --save-quantized")
            return graph
        if not self.calibrate:
            raise RefusedInput(
                f"{model}: is not quantised; expected --calibrate SPEC, images (or FILE.npy, frames) to quantise it on"
            )
        shown = self._selection(floats, layout).find(floats)
        with progress_bar("quantising") as advance:
            rounded, integers, scheme = quantised(floats, frames_of(floats, shown), self.granularity, progress=advance)
        if self.output is not None:
            write_quantised(model, rounded, scheme, self.output)
        return integers

    def _selection(self, floats: Graph, layout: FrameOptions) -> Selection:
        spec = self.calibrate[0]
        if floats.metadata.preprocessing is None or Path(spec).suffix == ".npy" or is_nir_data(Path(spec)):
            return Selection(None, named_files(self.calibrate), layout, self.count)
        return Selection(spec, {}, layout, self.count)


def widths_of(graph: Graph, answers: Trace) -> list[str]:
    """Sentences on whether u and v stay within their widths: by proof or, where there is none, in the run."""
    return width_sentences(certify_widths(graph), answers.overflows or {})
