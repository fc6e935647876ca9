"""mynet.nir in floats and in the chip's integers, its operations and its pictures: the README's example.

python docs/examples/run_mynet.py
"""

import matplotlib as mpl
import numpy as np

import energy
import neuromorphic
import spikeclip

mpl.use("Agg")  # into files; a notebook needs no such line

frames = np.random.default_rng(0).random((8, 1, 28, 28))
trace = spikeclip.run("mynet.nir", frames)
chip = spikeclip.run("mynet.nir", frames, precision="loihi2", calibrate=frames)
graph = neuromorphic.read_graph("mynet.nir")
print(graph, trace, energy.count(graph, trace), neuromorphic.place(graph), sep="\n\n")
trace.raster().figure.savefig("raster.png")
trace.rates(against=chip).figure.savefig("rates.png")
