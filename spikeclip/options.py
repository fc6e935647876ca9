"""Options that several commands share: what each is called, takes and says stands here once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--images", help="samples, FILE.npz, an image, a folder, or KIND:DIR[:SPLIT], as cifar10:DIR (docs/data.md)."
    ),
]
FramesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--frames",
        help="Instead of images, what the input reads: .npy, .npz, NIR's data or events (docs/data.md); of several "
        "inputs NAME=FILE, once for each.",
    ),
]
BinOption = Annotated[
    str | None,
    typer.Option("--bin", help="Of events: time per step, as 1ms, or steps per recording, as 16 or 16:number."),
]
TimeFirstOption = Annotated[bool, typer.Option("--time-first", help="Frames are [T, N, ...], not [N, T, ...].")]
SkipBrokenOption = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out image files that can't be read, and say which.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take the first N only.")]
TimeStepsOption = Annotated[
    int | None,
    typer.Option("-T", "--time-steps", min=1, max=4096, help="Time steps per image, where the file doesn't say."),
]
DtOption = Annotated[float | None, typer.Option("--dt", help="Seconds per time step, where the file doesn't say.")]
ResetOption = Annotated[
    Literal["zero", "subtract"] | None,
    typer.Option("--reset", help="What a spike does to v, where the file doesn't say it."),
]
IntegratorsOption = Annotated[
    Literal["dt", "step"] | None,
    typer.Option("--integrators", help="What IF and I multiply their input by: dt, as NIR has it, or 1 per step."),
]
WrittenByOption = Annotated[
    str | None,
    typer.Option("--written-by", help="The library that wrote the file, as in sinabs or norse@2: what its files mean."),
]
HeadsOption = Annotated[
    int | None, typer.Option("--heads", min=1, help="Attention heads of a published checkpoint, whose file lacks them.")
]
LabelsOption = Annotated[
    str | None,
    typer.Option("--labels", help="Label embeddings, not the checkpoint's own: FILE.npz or FILE.npz:KEY."),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Share images out: local[:N] processes, tcp://HOST:PORT of dask, FILE.yaml[:N] jobs (docs/cluster.md).",
    ),
]
ResumeOption = Annotated[
    Path | None,
    typer.Option("--resume", help="Keep finished shards of images in this folder, and go on from those it has."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda; auto takes CUDA where it is.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")]
_MODEL = typer.Argument(help="A graph (.nir), written by spikeclip-export or by another library.")
ModelArgument = Annotated[Path, _MODEL]
ModelOrModuleArgument = Annotated[Path | None, _MODEL]
"""Of commands that take a module instead."""

InputKindOption = Annotated[
    Literal["real", "spikes", "counts"] | None,
    typer.Option(
        "--input-kind",
        help="Input of spikes or counts is added up (SOPs), real input multiplied; where the file doesn't say.",
    ),
]
ModuleOption = Annotated[
    str | None,
    typer.Option("--module", help="FILE.py:FACTORY or package.module:factory: your network; this runs your Python."),
]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", help="The module's state dictionary: .safetensors, or torch.save's.")
]
FrameOption = Annotated[str | None, typer.Option("--input", help="Shape of the module's frames: C,H,W.")]
AxesOption = Annotated[
    str | None,
    typer.Option(
        "--axes",
        help="Axes of the module's input: BCHW or BF if it repeats images itself (default); TBCHW, BTF, ...",
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, help="Images in a batch while the module is traced; else 2, since 1 hides that images mix."
    ),
]
