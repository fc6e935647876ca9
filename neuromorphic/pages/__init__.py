"""What all pages and pictures share: one template to start from, one style, and SVG from strings."""

from neuromorphic.pages.page import render

__all__ = ["render"]
