"""A token engine: continuous batching over paged caches. `types` says what it is asked and answers."""
