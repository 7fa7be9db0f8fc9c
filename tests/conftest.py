"""What several rooms' tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from dokja.models import native
from dokja.models.native.build import library


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A machine that stands still for a moment must not fail what is done by the clock: one more try."""
    for item in items:
        if item.get_closest_marker("browser") or item.get_closest_marker("timed"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def _own_data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a server keeps by default goes into a temporary folder, in child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(params=["plain", "native"])
def _kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "native" and library() is None:
        pytest.skip("no C++ compiler, or DOKJA_NATIVE=0")
    with native.off() if request.param == "plain" else nullcontext():
        yield
