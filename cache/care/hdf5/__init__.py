"""A whole store as one HDF5 file, and back."""
