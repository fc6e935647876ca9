"""Runs graphs: the reference, which is the definition, and the fast executor, in floats and in integers."""
