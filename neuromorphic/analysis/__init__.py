"""Facts that are derived from a graph, each once."""
