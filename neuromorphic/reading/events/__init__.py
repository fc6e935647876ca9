"""Events of a camera, (x, y, p, t), become frames of a graph's input: readers for each layout, and the binning."""

from neuromorphic.reading.events.binning import Bin, Grid, bin_events, parse_bin
from neuromorphic.reading.events.formats import other_arrays
from neuromorphic.reading.events.recording import Recording, Recordings
from neuromorphic.reading.events.sources import LIMIT, files_by_class, find_recordings, holds_events, read_with

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
    "other_arrays",
    "parse_bin",
    "read_with",
]
