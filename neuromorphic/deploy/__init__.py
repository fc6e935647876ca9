"""A graph in integers as a folder that Lava runs by itself: `network.py`, its numbers, and what to expect."""

MISSING = "scipy is not installed; expected pip install 'spikeclip[lava]' before"
"""The sentence on a folder where its matrices can't be made."""
