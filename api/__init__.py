"""What ``import samcache`` offers: stores, datasets and runs for other programs."""
