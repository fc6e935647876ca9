"""The entry point of every console script.

It loads nothing before it is ready to be interrupted: `Ctrl-C` ends a command that is still loading as it ends one that
runs, silently and with exit code 130.  When the command is over and Python ends, it ends that, as silently.
"""

import sys


def main() -> None:
    """Run the command that this process is called by, `spikeclip-COMMAND`, or the one that `spikeclip` is told."""
    try:
        from importlib import import_module
        from pathlib import Path

        from spikeclip import commands
        from spikeclip.console import start

        called = commands.COMMANDS.get(Path(sys.argv[0]).stem.removeprefix("spikeclip-"))
        if called is None:
            commands.main()
        else:
            start(import_module(called.module).app)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        from signal import SIG_DFL, SIGINT, signal

        signal(SIGINT, SIG_DFL)  # by itself, Python would write a traceback of what it is ending
