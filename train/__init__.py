"""Features from a store, SLCA, the classifier, its training loop, metrics and run folder."""
