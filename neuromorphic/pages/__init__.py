"""Shared by all pages and pictures: a base template, a style sheet, and SVG from strings."""

from neuromorphic.pages.page import render

__all__ = ["render"]
