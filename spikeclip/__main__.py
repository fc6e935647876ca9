"""`python -m spikeclip`: the same as `spikeclip`."""

from spikeclip.entry import main

if __name__ == "__main__":
    main()
