"""Operations that other people's counters find, beside those of `energy`: `python -m benchmarks.counters`."""
