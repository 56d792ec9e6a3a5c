"""The command line's room: options and help texts, one call each, no logic."""
