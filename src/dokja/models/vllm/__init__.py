"""Our decoder inside vLLM, for architectures that it lacks."""
