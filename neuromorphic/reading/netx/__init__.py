"""Reads network files of lava-dl (`network.net`): their layers, and the graph that these make."""
