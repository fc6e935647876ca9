"""A NIR graph on Loihi-class hardware: validated, executed in numpy and in Lava, every spike compared.  No torch."""
