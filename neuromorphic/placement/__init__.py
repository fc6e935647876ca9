"""Placement: which cores of Loihi 2 a graph needs, under limits that each name their source."""

from neuromorphic.placement.limits import PROFILES, Limits, ProfileName
from neuromorphic.placement.picture import picture
from neuromorphic.placement.report import Core, Placement, place, with_run

__all__ = ["PROFILES", "Core", "Limits", "Placement", "ProfileName", "picture", "place", "with_run"]
