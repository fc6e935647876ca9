"""Trained networks of other families through the front door: accuracy at every stage (docs/results.md)."""
