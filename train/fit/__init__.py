"""One training: epochs, checkpoints, devices."""
