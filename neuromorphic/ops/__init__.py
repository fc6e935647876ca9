"""Operations: one class each, with its equation, its node in NIR, shapes, kernels, bounds and counts."""
