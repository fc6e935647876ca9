"""A graph run in Lava, in a process group of its own."""
