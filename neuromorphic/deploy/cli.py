"""`spikeclip-deploy`: a graph in integers as a folder that Lava runs by itself, or as a netx file of lava-dl."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuromorphic.errors import RefusedInput
from neuromorphic.files import check_outputs
from spikeclip.console import command_line, examples, progress_bar, refusals, results, written
from spikeclip.options import FramesOption, ImagesOption, TimeStepsOption

if TYPE_CHECKING:  # --help loads nothing that a graph takes
    from neuromorphic.ir.graph import Graph

app = command_line()

IMAGES = 8
"""Images whose spikes a folder holds, for comparison."""


@app.command(
    epilog=examples(
        "spikeclip deploy quantised.nir --images samples -o loihi",
        "spikeclip deploy quantised.nir --frames spikes.npy -o loihi",
        "spikeclip deploy network.net --netx again.net",
    )
)
def deploy(
    model: Annotated[Path, typer.Argument(help="A quantised graph (.nir), or a netx file of lava-dl.")],
    images: ImagesOption = None,
    frames: FramesOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Take the first N only.")] = IMAGES,
    time_steps: TimeStepsOption = None,
    folder: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the folder; --images or --frames fill it.")
    ] = None,
    netx: Annotated[Path | None, typer.Option(help="Write a chain of layers for lava-dl's reader (.net).")] = None,
) -> None:
    """Hand over a network in the integers of Loihi 2: a folder that needs lava-nc only, or a netx file.

    The folder holds one program of Lava's own processes (`network.py --sim` and `--hw`), its integers, and the spikes
    and membranes to expect on a few images. What Lava's processes lack is named before anything is written.

    Exit codes: 0 done, 2 the input was refused, 70 a bug of ours.
    """
    with refusals():
        from neuromorphic.deploy.folder import FILES, check_own_folder, write_folder
        from neuromorphic.deploy.netx import to_layers, write_netx
        from neuromorphic.deploy.plan import plan
        from neuromorphic.execution.fast import run_in_batches
        from neuromorphic.execution.frames import per_step
        from neuromorphic.reading.frames import named_files
        from neuromorphic.runs.cli_inputs import Selection, assumed_of, frames_of, with_clipped
        from neuromorphic.runs.summary import assumptions

        chosen = Selection(images, named_files(frames or ()), limit=limit)
        own = [] if folder is None or not folder.is_dir() else FILES
        outputs = {"--netx": netx, **{f"-o's {name}": Path(str(folder), name) for name in own}}
        check_outputs(outputs, (model, *chosen.read), folders={"-o": folder})
        if folder is None and netx is None:
            raise RefusedInput("nothing to write; expected -o FOLDER or --netx FILE.net")
        if folder is not None:
            check_own_folder(folder)
            if (images is None) != bool(frames):
                raise RefusedInput(
                    "nothing to expect spikes on, or two things; expected --images SPEC or --frames FILE"
                )
        graph = _integers(model)
        planned = None if folder is None else plan(graph)
        if netx is not None:
            to_layers(graph)
        if folder is not None and planned is not None:
            found = with_clipped(graph, chosen.find(graph))
            for line in (*assumptions(graph), *assumed_of(found)):
                results.print(line, markup=False)
            shown = per_step(graph, frames_of(graph, found), time_steps)
            with progress_bar("running") as advance:
                trace = run_in_batches(graph, shown, progress=advance)
            write_folder(folder, graph, planned, shown, trace)
            synapses = sum(len(population.synapses) for population in planned.populations)
            relays = sum(len(population.relays) for population in planned.populations)
            results.print(
                f"{len(planned.populations)} populations, {synapses} processes of synapses, {relays} relays; "
                f"{trace.images} images of {trace.time_steps} steps to compare with: python {folder / FILES[0]} --sim",
                markup=False,
            )
        if netx is not None:
            write_netx(graph, netx)
        written(*([] if folder is None else [folder / name for name in FILES]), netx)


def _integers(model: Path) -> "Graph":
    from neuromorphic.loihi2.file import integer_graph
    from neuromorphic.reading.read import read_graph

    graph = integer_graph(read_graph(model))
    if graph is None:
        raise RefusedInput(
            f"{model}: is not quantised; expected integers: spikeclip-simulate {model} --precision loihi2 --calibrate "
            "SPEC --save-quantized FILE.nir writes them"
        )
    return graph
