"""Runs of commands: their inputs, sentences on their results, and a page."""
