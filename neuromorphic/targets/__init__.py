"""What can run a graph, and what becomes of it on each."""
