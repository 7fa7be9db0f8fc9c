"""A mixture of experts under torch.compile and under autocast, without kernels of ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dokja.models import native
from dokja.models.ffn import MixtureOfExperts
from dokja.models.spec import MoE, Router


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    torch.manual_seed(0)
    with native.off():
        yield


def mixture(active: int = 2) -> MixtureOfExperts:
    module = MixtureOfExperts(32, MoE(6, active, 16, 1, Router(bias=False, score="softmax")))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.train()


def gradients(module: torch.nn.Module, run: object, x: torch.Tensor) -> list[torch.Tensor]:
    """The output and the gradients of all weights."""
    module.zero_grad()
    out = run(x)  # type: ignore[operator]
    out.float().square().mean().backward()
    return [out.detach(), *(p.grad.clone() for p in module.parameters() if p.grad is not None)]


def test_a_mixture_trains_under_compile_as_without() -> None:
    module, x = mixture(), torch.randn(2, 24, 32)
    plain = gradients(module, module, x)
    compiled = gradients(module, torch.compile(module, backend="eager"), x)
    for one, other in zip(plain, compiled, strict=True):
        torch.testing.assert_close(one, other)


def test_a_mixture_trains_under_autocast_near_its_float32_self() -> None:
    module, x = mixture(active=6), torch.randn(2, 24, 32)  # all experts: a rounded score cannot choose others

    def half(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return module(x)

    for one, other in zip(gradients(module, module, x), gradients(module, half, x), strict=True):
        assert (one - other).norm() < 0.03 * one.norm()
