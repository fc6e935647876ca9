"""`spikeclip doctor`: what is installed here, what is missing, what each thing is for, and how to get it."""

from dataclasses import asdict
from typing import Annotated

import typer

from spikeclip.console import command_line, console, examples, refusals, results, written
from spikeclip.options import JsonOption

app = command_line()


@app.command(
    epilog=examples("spikeclip doctor", "spikeclip doctor --install-lava", "spikeclip doctor --json doctor.json")
)
def doctor(
    install_lava: Annotated[
        bool, typer.Option("--install-lava", help="Install lava-nc, whose metadata refuses this Python, and try it.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Say what is there, what is missing, what each thing is for, and how to get it.

    Lava runs on Python 3.11 to 3.13, though what it says of itself keeps pip from installing it there.

    Exit codes: 0 the core is complete, and Lava if it was to be installed; 1 it isn't; 2 nothing could be installed.
    """
    with refusals():
        from neuromorphic.files import check_outputs, write_json
        from spikeclip import doctor as checks

        check_outputs({"--json": json_path})
        for command in checks.lava_commands() if install_lava else ():
            console.print(" ".join(command[2:]), markup=False)
            checks.install_lava(command)
        found = checks.findings()
        width = max(len(each.name) for each in found)
        for each in found:
            state = "ok" if each.ok else "missing" if each.core else "-"
            remedy = f"; {each.remedy}" if each.remedy else ""
            results.print(f"{state:<8}{each.name:<{width}}  {each.found}{remedy}", markup=False)
            results.print(f"{'':<{width + 10}}for {each.serves}", markup=False)
        if json_path is not None:
            write_json(json_path, {"format_version": 1, "findings": [asdict(each) for each in found]})
        written(json_path)
        needed = {each.name for each in found if each.core} | ({"lava-nc"} if install_lava else set())
        if any(not each.ok and each.name in needed for each in found):
            raise typer.Exit(1)
