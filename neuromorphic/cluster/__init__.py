"""Work in shards, ranges of images: here, or on many machines by dask.distributed; finished ones are kept."""
