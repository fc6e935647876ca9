"""Other people's NIR readers on files of ours: docs/readers.md."""
