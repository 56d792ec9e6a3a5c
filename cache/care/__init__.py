"""The ``samcache cache`` commands: look at stores, move them, keep them whole."""
