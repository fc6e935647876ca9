"""The report for people: one HTML file that needs nothing else, and its figures as SVG, from the document alone."""

from energy.report.page import figures, html

__all__ = ["figures", "html"]
