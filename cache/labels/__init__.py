"""What a store's samples permit: classes, copies of images, splits."""
