"""The page of a run: images, parity, spikes, the graph and its schedule.  One file, no request to anywhere."""

from neuromorphic.run_page.content import Run, described_graph
from neuromorphic.run_page.page import html

__all__ = ["Run", "described_graph", "html"]
