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
for _ in range(12):  # small objects settle in the first blocks, which then are too small for the next
    faults()
print(int(kept), faults())
"""


def later(keep: bool) -> tuple[bool, int]:
    """Whether the allocator understood, and the page faults of an allocation after twelve like it."""
    done = subprocess.run([sys.executable, "-c", CODE.format(keep=keep)], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == "1", int(faults)


def test_pages_are_kept_from_one_allocation_to_the_next() -> None:
    kept, faults = later(keep=True)
    if not kept:
        pytest.skip("the C library here is not glibc")
    assert later(keep=False)[1] > 1000  # a page is 4 KB, or 2 MB where huge ones are always given
    assert faults < 100
