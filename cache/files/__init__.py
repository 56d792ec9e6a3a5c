"""Files from outside, read with care, and files written whole or not at all."""
