"""Tables and shards moved from one store to another."""
