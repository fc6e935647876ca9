"""Any spiking module of PyTorch to NIR: its own code, traced, with neurons as opaque operators.

`to_nir(module, example, time_steps=T)` returns the graph, its certificate, and the module with the graph's numbers.
"""
