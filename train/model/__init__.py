"""The classifier: backbone, SLCA, heads."""
