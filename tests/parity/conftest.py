"""Parity is checked twice: on PyTorch's operations and on the native kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch

from dokja.models import native
from dokja.models.native.build import library


@pytest.fixture(autouse=True)
def _small_tensors() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # these tensors are too small for more
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


@pytest.fixture(params=["plain", "native"])
def _kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "native" and library() is None:
        pytest.skip("no C++ compiler, or DOKJA_NATIVE=0")
    with native.off() if request.param == "plain" else nullcontext():
        yield
