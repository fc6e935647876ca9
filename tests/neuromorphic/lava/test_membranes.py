"""Membranes at the end of each image, written down as a run passes them."""

import numpy as np

from neuromorphic.lava.membranes import MembraneFile


def test_what_an_image_leaves_is_kept_and_nothing_between(tmp_path):
    """Two images at a time, of 4 steps and a step late: three images end in steps 5 and 9; what follows is none."""
    np.save(tmp_path / "v.npy", np.zeros((3, 2), np.int32))
    kept = MembraneFile(tmp_path / "v.npy", 4, 1, 2)
    for step in range(1, 18):
        kept.keep(step, np.array([[step, -step], [10 * step, 0]]))
    assert np.load(tmp_path / "v.npy").tolist() == [[5, -5], [50, 0], [9, -9]]
