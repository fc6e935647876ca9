"""lava-dl's network files (`network.net`): what their layers are, read and written."""
