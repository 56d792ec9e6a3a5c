"""How commands talk to a terminal: streams, groups, hints, Ctrl-C."""
