"""CPU cores and GPUs: batch sizes, lanes, copies."""
