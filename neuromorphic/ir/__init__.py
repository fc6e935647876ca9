"""Types that the rooms share: graphs, their metadata, traces, and the comparison of two traces."""
