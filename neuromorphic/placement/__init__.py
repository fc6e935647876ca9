"""Placement: the cores of Loihi 2 that a graph needs, under limits that each have a source."""

from neuromorphic.placement.limits import PROFILES, Limits, ProfileName
from neuromorphic.placement.picture import picture
from neuromorphic.placement.report import Core, Placement, place, with_run

__all__ = ["PROFILES", "Core", "Limits", "Placement", "ProfileName", "picture", "place", "with_run"]
