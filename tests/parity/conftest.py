"""Parity is checked twice: on PyTorch's operations and on the native kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _small_tensors() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # these tensors are too small for more
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


