"""Sources of image arrays: npz, HDF5, MedMNIST."""
