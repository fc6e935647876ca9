"""A `.nir` file from anywhere to a graph that nothing behind this room has to check again."""
