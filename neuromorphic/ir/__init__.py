"""What stands between the rooms: graphs, their metadata, traces, and the comparison of two traces."""
