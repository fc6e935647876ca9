"""A graph in integers as a folder that Lava runs by itself: `network.py`, its numbers, and what to expect."""
