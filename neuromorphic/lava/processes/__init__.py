"""The Lava processes of a graph, and their models.

Nothing else may stand in this folder: Lava's compiler executes every file beside a process's own, once per process.
"""

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)
