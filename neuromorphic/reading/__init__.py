"""Reads a `.nir` file from any source; the resulting graph is checked, so that other rooms need no checks."""
