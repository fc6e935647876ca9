"""`spikeclip-head`: a head for label vectors as they are, in the place of one that was trained with centred ones."""

from pathlib import Path
from typing import Annotated

import typer

from neuromorphic.files import check_outputs
from spikeclip.console import checkpoint_written, command_line, examples, progress_bar, refusals
from spikeclip.options import DeviceOption

app = command_line()


@app.command(
    epilog=examples(
        "spikeclip head spike-driven-small --labels embeddings.npz:cifar10 --data cifar10:DIR:train "
        "-o open.safetensors",
    )
)
def head(
    checkpoint: Annotated[str, typer.Argument(help="An encoder: a path, or the name of one that ships.")],
    labels: Annotated[str, typer.Option(help="Label embeddings of its names: FILE.npz or FILE.npz:KEY.")],
    data: Annotated[str, typer.Option(help="Training images: cifar10:DIR:train, FILE.npz or a folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint to write (.safetensors).")],
    spread: Annotated[
        float, typer.Option(help="Standard deviation of the scores around 1: what is between foreign and unseen names.")
    ] = 0.2,
    limit: Annotated[int, typer.Option(min=1, help="Take the first N training images.")] = 4096,
    test: Annotated[str | None, typer.Option(help="Images to measure accuracy on.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Open an encoder's vocabulary: give it a head whose embeddings are compared with label vectors as they are.

    Its own names are told apart as before. What the spread trades, and figures: docs/evaluation.md.

    Exit codes: 0 done, 2 the input was refused.
    """
    with refusals():
        from spikeclip.card import measure, save_with_card
        from spikeclip.checkpoint import load
        from spikeclip.data import load_images
        from spikeclip.device import pick_device
        from spikeclip.labels import load_labels
        from spikeclip.plain_head import with_plain_head
        from spikeclip.training_run import check_output

        check_outputs({"-o": output}, (checkpoint, labels, data, test), {"-o": (".safetensors",)})
        check_output(output)
        chosen = pick_device(device)
        found, label_set = load(checkpoint), load_labels(labels)
        how = found.preprocessing
        images = load_images(data, how.image_size, limit, how.resize)
        held_out = load_images(test, how.image_size, None, how.resize) if test else None
        with progress_bar("standardising") as advance:
            made = with_plain_head(found, label_set, images, spread, chosen, advance)
        measured = measure(made, held_out, chosen) if held_out else None
        save_with_card(made, output, measured)
        checkpoint_written(output, measured, test)
