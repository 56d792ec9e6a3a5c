"""The store: identity, layout, commits, reading. Knows numpy, pandas and zarr, never torch."""
