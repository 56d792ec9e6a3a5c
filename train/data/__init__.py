"""Training data: from a store to batches."""
