"""Hands over a graph in integers as a folder that Lava runs by itself: a program, its numbers, and expected results."""

MISSING = "scipy is not installed; expected pip install 'spikeclip[lava]' before"
"""Why no folder can be written: its matrices need scipy."""
