"""Shared by all pages and pictures: one template to start from, one style, and SVG from strings."""

from neuromorphic.pages.page import render

__all__ = ["render"]
