"""One pocket model for all tests of serving."""

from __future__ import annotations

import pytest
from pocket_models import make_model

from dokja.models.model import Model


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("models") / "k-exaone")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("models") / "vaetki", "vaetki", rank=2)
