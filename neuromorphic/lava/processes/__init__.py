"""The Lava processes of a graph, and their models.

Nothing else may be in this folder: Lava's compiler executes every file beside that of a process, once per process.
"""

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)
