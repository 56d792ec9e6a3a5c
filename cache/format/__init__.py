"""What a store's bytes mean: records, sample tables, shards, identity."""
