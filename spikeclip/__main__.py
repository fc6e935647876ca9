"""`python -m spikeclip`: the same as `spikeclip`."""

from spikeclip.commands import main

if __name__ == "__main__":
    main()
