"""Frozen encoders: networks, weights, precision."""
