"""What several rooms' tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from dokja.models import native
from dokja.models.native.build import library


@pytest.fixture(params=["plain", "native"])
def _kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "native" and library() is None:
        pytest.skip("no C++ compiler, or DOKJA_NATIVE=0")
    with native.off() if request.param == "plain" else nullcontext():
        yield
