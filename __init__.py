"""samcache: encode images once with a frozen Segment Anything encoder, train many times."""
