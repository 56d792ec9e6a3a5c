"""One file for each family of encoders, and what they share."""
