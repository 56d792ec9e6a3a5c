"""From a source to a filled store: read, encode, write."""
