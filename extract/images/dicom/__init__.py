"""DICOM files as the images that a viewer would show."""
