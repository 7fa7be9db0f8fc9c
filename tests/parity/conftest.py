"""What all comparisons share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _small_tensors() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # these tensors are too small for more
    yield
    torch.set_num_threads(before)




@pytest.fixture
def inference() -> Iterator[None]:
    """No gradients anywhere."""
    with torch.inference_mode():
        yield
