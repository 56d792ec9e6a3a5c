"""Features from a store, SLCA, the classifier, its training loop, metrics and run folder."""

import samcache.cache  # noqa: F401  refuses a system that samcache does not run on
