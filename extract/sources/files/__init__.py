"""Sources of image files: folders and manifests."""
