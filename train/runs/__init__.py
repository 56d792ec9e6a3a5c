"""Run folders: written, read, and loaded as an ensemble."""
