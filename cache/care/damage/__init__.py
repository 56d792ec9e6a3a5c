"""Damaged stores: opened, and restored from their own spares and checksums."""
