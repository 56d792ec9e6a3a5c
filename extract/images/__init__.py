"""From the bytes of an image to the encoder's square input."""
