"""How the serving kernel sends tokens to experts: as `models/ffn.py` does, and each token apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dokja.models.ffn import MixtureOfExperts
from dokja.models.spec import MoE, Router
from dokja.serve import native
from dokja.serve.quantise import Kinds, ServedMixture

WIDTH, EXPERTS = 24, 32
ROUTERS = {
    "sigmoid with a bias": Router(scale=2.5),
    "groups": Router(groups=4, groups_kept=2),
    "soft groups": Router(groups=4, groups_kept=1, soft_groups=True),
    "softmax": Router(bias=False, score="softmax"),
    "softmax with a bias on logits": Router(bias=False, score="softmax", logit_bias=True),
}

pytestmark = pytest.mark.skipif(native.library() is None, reason="no C++ compiler")


def dense(expert: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """The share of every expert, [N, E]."""
    return torch.zeros(len(expert), EXPERTS).scatter_(1, expert, share)


@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
@pytest.mark.parametrize("active", [1, 6])
def test_each_token_takes_the_experts_of_the_plain_path(router: Router, active: int) -> None:
    torch.manual_seed(0)
    mixture = MixtureOfExperts(WIDTH, MoE(experts=EXPERTS, active=active, width=8, shared=0, router=router))
    for parameter in mixture.parameters():
        torch.nn.init.normal_(parameter)
    if mixture.router_bias is not None:
        torch.nn.init.normal_(mixture.router_bias, std=0.3)
    x = torch.randn(150, WIDTH)
    with torch.inference_mode():
        expected = dense(*mixture.chosen(x)[:2])
        served = ServedMixture(mixture, Kinds("fp32", "fp32", "fp32"))
        found = dense(*served.chosen(x))
        same = torch.isclose(found, expected, rtol=1e-5, atol=1e-6).all(1)
        # Experts outside the best groups all have a score of 0: which of them are taken, nobody says.
        assert same.double().mean() > (0.5 if router.soft_groups else 0.999)
        for rows in ([7], [3, 149, 0], list(range(40, 90))):
            assert torch.equal(dense(*served.chosen(x[rows])), found[rows])


def test_scores_that_are_no_numbers_break_nothing() -> None:
    torch.manual_seed(0)
    moe = MoE(experts=EXPERTS, active=3, width=8, shared=0, router=replace(ROUTERS["groups"], bias=False))
    served = ServedMixture(MixtureOfExperts(WIDTH, moe), Kinds("fp32", "fp32", "fp32"))
    expert, _ = served.chosen(torch.full((2, WIDTH), float("nan")))
    assert ((expert >= 0) & (expert < EXPERTS)).all()
