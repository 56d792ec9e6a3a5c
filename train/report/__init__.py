"""One run as one page: ``samcache report`` reads run folders, and the store for examples."""
