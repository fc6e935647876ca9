"""lava-dl's network files (`network.net`), read: what their layers are, and the graph that they make."""
