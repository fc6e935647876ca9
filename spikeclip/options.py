"""Options that several commands share: what each is called, takes and says stands here once."""

from pathlib import Path
from typing import Annotated

import typer

ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--images", help="samples, FILE.npz, an image, a folder, or KIND:DIR[:SPLIT], as cifar10:DIR (docs/data.md)."
    ),
]
FramesOption = Annotated[
    Path | None, typer.Option("--frames", help="Instead of images, what the input reads: .npy (docs/data.md).")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take the first N only.")]
TimeStepsOption = Annotated[
    int | None, typer.Option("--time-steps", min=1, max=4096, help="Time steps per image, where the file doesn't say.")
]
DtOption = Annotated[float | None, typer.Option("--dt", help="Seconds per time step, where the file doesn't say.")]
HeadsOption = Annotated[
    int | None, typer.Option("--heads", min=1, help="Attention heads of a published checkpoint, whose file lacks them.")
]
LabelsOption = Annotated[
    str | None,
    typer.Option("--labels", help="Label embeddings, not the checkpoint's own: FILE.npz or FILE.npz:KEY."),
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")]
ModelArgument = Annotated[
    Path, typer.Argument(help="A graph (.nir), written by spikeclip-export or by another library.")
]
