"""Who runs a graph: targets, and what becomes of a graph on each."""
