"""Heat maps of the gates."""
