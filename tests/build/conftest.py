"""The teams of these tests are too small for more than one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
