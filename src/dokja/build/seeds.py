"""Named seeds: every source of randomness in a run is a name under one number."""

from __future__ import annotations

import hashlib


def named_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for one purpose, such as named_seed(7, "init", "k-exaone"); unrelated for different names."""
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
