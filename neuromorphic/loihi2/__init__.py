"""The integers of Loihi 2: bit widths, the arithmetic of its neurons, and graphs brought into both."""
