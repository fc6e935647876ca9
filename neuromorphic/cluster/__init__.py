"""Runs work in shards, ranges of images, here or on many machines by dask.distributed, and keeps finished shards."""
