"""A run, for people: what commands run on, sentences and a page on what came out."""
