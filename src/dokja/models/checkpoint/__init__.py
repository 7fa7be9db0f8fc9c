"""Published checkpoints: config.json and tensor names, read and written. Families say what is theirs (`layout.py`)."""
