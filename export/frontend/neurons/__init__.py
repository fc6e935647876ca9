"""Neurons of other libraries: one equation, and per library one file that reads it off a module."""
