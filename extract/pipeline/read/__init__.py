"""Read the images for the rows of a store, or copy rows that are known, ahead of the encoder."""
