"""Events of a camera, (x, y, p, t), become frames of a graph's input: readers for each layout, and the binning."""

from neuromorphic.reading.events.binning import Bin, Grid, bin_events, parse_bin
from neuromorphic.reading.events.recording import Recording, Recordings
from neuromorphic.reading.events.sources import LIMIT, files_by_class, find_recordings, holds_events

__all__ = [
    "LIMIT",
    "Bin",
    "Grid",
    "Recording",
    "Recordings",
    "bin_events",
    "files_by_class",
    "find_recordings",
    "holds_events",
    "parse_bin",
]
