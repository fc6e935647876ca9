"""The page of a run: images, parity, spikes, the graph and its schedule.  One file, no request to anywhere."""

from neuromorphic.run_page.content import SHOWN, Run, described_graph
from neuromorphic.run_page.page import html

__all__ = ["SHOWN", "Run", "described_graph", "html"]
