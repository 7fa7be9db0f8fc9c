"""What the allocator keeps between steps."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, torch
from dokja.models import native
kept = {keep} and native.keep_pages()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(16 << 20).fill_(1.0)  # 64 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(int(kept), faults())
"""


def second(keep: bool) -> tuple[bool, int]:
    """Whether the allocator understood, and the page faults of the second of two equal allocations."""
    done = subprocess.run([sys.executable, "-c", CODE.format(keep=keep)], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == "1", int(faults)


def test_pages_are_kept_from_one_allocation_to_the_next() -> None:
    kept, faults = second(keep=True)
    if not kept:
        pytest.skip("the C library here is not glibc")
    assert second(keep=False)[1] > 1000  # a page is 4 KB, or 2 MB where huge ones are always given
    assert faults < 100
