"""Other people's networks through the front door: `make zoo` (docs/frontend.md)."""
