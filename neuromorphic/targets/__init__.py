"""Targets, which run graphs, and verdicts on how faithfully each target runs a graph."""
