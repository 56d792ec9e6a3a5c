"""Where a store's bytes lie: objects on disk, in a bucket or behind a web server."""
