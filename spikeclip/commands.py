"""`spikeclip COMMAND`: every command under one name; what a command needs is loaded when it is called.

Each but `doctor` is a console script of its own too, `spikeclip-COMMAND`.
"""

import sys
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from spikeclip.console import examples, refusals, results, start


class Command(NamedTuple):
    """The module that holds a command, and a few words on what it does."""

    module: str
    does: str


COMMANDS = {
    "inspect": Command("neuromorphic.inspection.cli", "Show what is in a .nir file."),
    "simulate": Command("neuromorphic.cli", "Run a graph, compare every spike with PyTorch."),
    "energy": Command("energy.cli", "Count and price the operations of a graph and of its ANN twin."),
    "deploy": Command("neuromorphic.deploy.cli", "Hand a graph over as a folder of Lava's own processes."),
    "export": Command("export.cli", "Make a .nir or .onnx of a checkpoint or of your own module."),
    "train": Command("spikeclip.cli", "Train an image encoder."),
    "train-text": Command("spikeclip.text_cli", "Train a spiking text encoder."),
    "eval": Command("spikeclip.eval_cli", "Measure accuracy, among foreign and unseen names too."),
    "labels": Command("spikeclip.labels_cli", "Make a label set."),
    "head": Command("spikeclip.head_cli", "Open an encoder's vocabulary."),
    "doctor": Command("spikeclip.doctor_cli", "Say what is installed and what is missing; install Lava."),
}
"""By name, in the order of `--help`."""


class _Loaded(TyperGroup):
    """A group that lists what `COMMANDS` says, and loads the command that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else get_command(_application(name)), rest


def _application(name: str) -> typer.Typer:
    with refusals():
        found: typer.Typer = import_module(COMMANDS[name].module).app
    return found


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        results.print(f"spikeclip {version('spikeclip')}", markup=False)
        raise typer.Exit


app = typer.Typer(cls=_Loaded, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback(
    epilog=examples(
        "spikeclip export spike-driven-small -o model.nir",
        "spikeclip simulate model.nir --images samples --check spike-driven-small",
        "spikeclip energy model.nir --images samples --html report.html",
        "spikeclip simulate --help",
    )
)
def spikeclip(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Spiking networks on Loihi-class hardware: exported, simulated, every spike compared, every operation counted."""


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.does)(lambda: None)


def main() -> None:
    """The entry point of `spikeclip`."""
    name, *rest = sys.argv[1:] or [""]
    if name not in COMMANDS:
        app(prog_name="spikeclip")
    try:
        found = _application(name)
    except typer.Exit as ended:  # which only a running application understands
        sys.exit(ended.exit_code)
    start(found, rest, f"spikeclip {name}")
