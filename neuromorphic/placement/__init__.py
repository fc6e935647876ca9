"""Placement: which cores of Loihi 2 a graph needs, under limits that each name their source."""

from neuromorphic.placement.limits import Limits
from neuromorphic.placement.picture import picture
from neuromorphic.placement.report import Core, Placement, place

__all__ = ["Core", "Limits", "Placement", "picture", "place"]
