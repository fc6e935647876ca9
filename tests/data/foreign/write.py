"""Writes the files beside it: small networks of other libraries, by their own exporters, and what they answer there.

    python write.py LIBRARY FOLDER

LIBRARY is a module of `writers`, whose docstring says which versions wrote the files that are kept.  Each runs in an
environment that has it; none of them is a dependency of this project but SpikingJelly and nirtorch.
"""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    import_module(f"writers.{sys.argv[1]}").write(Path(sys.argv[2]))
