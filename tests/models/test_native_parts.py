"""Kernels of mixtures, latent attention and residual additions against PyTorch's path, judged by it in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_native import check
from torch import Tensor, nn

from dokja.models import native, ops
from dokja.models.attention import GroupedQueryAttention, MultiHeadLatentAttention
from dokja.models.families import family
from dokja.models.ffn import MixtureOfExperts
from dokja.models.native.build import library
from dokja.models.norm import RMSNorm, join
from dokja.models.scaling import scaled
from dokja.models.spec import Attention, LatentAttention, MoE, Rope, Router

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("tokens", "active", "experts", "width", "hidden"), [
    (1, 1, 1, 16, 8), (37, 2, 5, 24, 24), (64, 3, 40, 48, 16), (200, 2, 4, 128, 48), (200, 2, 4, 72, 40),
    (1000, 2, 3, 24, 16)])
def test_experts(tokens: int, active: int, experts: int, width: int, hidden: int, shared: bool) -> None:
    x, weight = torch.randn(tokens, width), torch.rand(tokens, active)
    gate_up, down = torch.randn(experts, width, 2 * hidden) * 0.2, torch.randn(experts, hidden, width) * 0.2
    expert = torch.rand(tokens, experts).topk(active).indices
    load = expert.flatten().bincount(minlength=experts)

    def forward(x: Tensor, gate_up: Tensor, down: Tensor, weight: Tensor, further: Tensor | None = None) -> Tensor:
        if x.dtype is torch.float64:  # F.grouped_mm knows no float64
            grouped = torch.stack([ops.swiglu(x @ one) @ two for one, two in zip(gate_up, down, strict=True)], dim=1)
            chosen = grouped.gather(1, expert[..., None].expand(-1, -1, width))
            mixed = (chosen * weight[..., None]).sum(1)
            return mixed if further is None else mixed + further
        return ops.experts(x, gate_up, down, expert, weight, load, further_NC=further)

    check(forward, x, gate_up, down, weight, *([torch.randn(tokens, width)] if shared else []))


def test_a_shared_expert_in_another_precision_is_added_as_it_is() -> None:
    """Under autocast a shared expert may come in bfloat16 while all else is float32."""
    x, gate_up, down = torch.randn(64, 24), torch.randn(5, 24, 32) * 0.2, torch.randn(5, 16, 24) * 0.2
    expert, weight = torch.rand(64, 5).topk(2).indices, torch.rand(64, 2)
    load, shared = expert.flatten().bincount(minlength=5), torch.randn(64, 24).bfloat16()
    found = ops.experts(x, gate_up, down, expert, weight, load, further_NC=shared)
    torch.testing.assert_close(found, ops.experts(x, gate_up, down, expert, weight, load) + shared.float(),
                               atol=1e-5, rtol=1e-5)


def test_a_favourite_expert_and_an_idle_one_give_the_same_bits_on_one_thread_and_on_two() -> None:
    x, gate_up, down = torch.randn(700, 24), torch.randn(5, 24, 32) * 0.2, torch.randn(5, 16, 24) * 0.2
    expert = torch.rand(700, 5).topk(2).indices
    expert[expert == 4] = 0
    weight, load = torch.rand(700, 2), expert.flatten().bincount(minlength=5)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            given = [tensor.clone().requires_grad_() for tensor in (x, gate_up, down, weight)]
            out = ops.experts(given[0], given[1], given[2], expert, given[3], load)
            out.square().sum().backward()
            found.append([out, *(tensor.grad for tensor in given)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
    assert not found[0][2][4].any()


class Routed(nn.Module):
    """Only the router of a mixture."""

    def __init__(self, mixture: MixtureOfExperts) -> None:
        super().__init__()
        self.mixture = mixture

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.mixture.routed(x)


class Joined(nn.Module):
    """`join` with its norms."""

    def __init__(self, norms: nn.ModuleList) -> None:
        super().__init__()
        self.norms = norms

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return join(x, y, self.norms[0], self.norms[1])


def router_module(router: Router, active: int, experts: int, width: int) -> MixtureOfExperts:
    moe = MoE(experts=experts, active=active, width=16, shared=0, router=router)
    return MixtureOfExperts(width, moe)


@pytest.mark.parametrize("score", ["sigmoid", "softmax"])
@pytest.mark.parametrize(("bias", "groups", "kept", "active", "experts", "width"), [
    (False, 1, 1, 2, 32, 64), (False, 8, 4, 2, 48, 80), (True, 4, 2, 3, 24, 40), (True, 1, 1, 1, 8, 16)])
def test_router(score: str, bias: bool, groups: int, kept: int, active: int, experts: int, width: int) -> None:
    router = Router(bias=bias, groups=groups, groups_kept=kept, scale=2.5, score=score)  # type: ignore[arg-type]
    module = router_module(router, active, experts, width)
    if bias:
        nn.init.normal_(module.get_buffer("router_bias"), std=0.3)
    x, matrix = torch.randn(200, width), torch.randn(experts, width) * width**-0.5
    chosen: list[tuple[Tensor, Tensor]] = []

    def forward(x: Tensor, matrix: Tensor) -> Tensor:
        buffers = {f"mixture.{name}": buffer.to(x.dtype) for name, buffer in module.named_buffers()}
        tensors = {"mixture.router.weight": matrix} | buffers
        expert, weight, load, balance = torch.func.functional_call(Routed(module), tensors, (x,))
        chosen.append((expert.sort(-1).values, load))
        # Choices come in any order: what each expert got of each token.
        spread = torch.zeros(x.shape[0], experts, dtype=x.dtype).scatter(1, expert, weight)
        return torch.cat((spread, (balance * 10).expand(1, experts)))

    check(forward, x, matrix)
    for expert, load in chosen[1:]:
        assert torch.equal(expert, chosen[0][0])
        assert torch.equal(load, chosen[0][1])


def test_router_of_scores_that_are_no_numbers_stays_in_range() -> None:
    module = router_module(Router(bias=False), 2, 8, 16)
    expert, _, load, _ = module.routed(torch.full((8, 16), float("nan")))
    assert int(expert.max()) < 8
    assert int(load.sum()) == 16


@pytest.mark.parametrize("layout", ["interleaved", "half"])
@pytest.mark.parametrize(("width", "q_rank", "kv_rank", "nope", "value", "batch", "length"), [
    (64, 32, 32, 32, 32, 2, 136), (72, 40, 24, 40, 24, 3, 8), (16, 8, 8, 16, 16, 8, 5)])
def test_latent_attention(layout: str, width: int, q_rank: int, kv_rank: int, nope: int, value: int, batch: int,
                          length: int) -> None:
    for zero_centred in (False, True):
        rope = Rope(theta=10000, layout=layout)  # type: ignore[arg-type]
        mixer = LatentAttention(heads=2, q_rank=q_rank, kv_rank=kv_rank, nope_dim=nope, rope_dim=16, v_dim=value,
                                rope=rope, window=None)
        spec = replace(scaled(family("vaetki").spec, 2_000_000, context=256), width=width,
                       norm_zero_centred=zero_centred)
        module = MultiHeadLatentAttention(mixer, spec)
        names = [name for name, _ in module.named_parameters()]

        def forward(x: Tensor, *weights: Tensor, module: nn.Module = module, names: list[str] = names) -> Tensor:
            return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x, None, None))

        weights = [torch.randn(p.shape) * (0.3 if p.ndim > 1 else 1.0) for p in module.parameters()]
        check(forward, torch.randn(batch, length, width), *weights)


@pytest.mark.parametrize("zero_centred", [False, True])
@pytest.mark.parametrize(("with_after", "with_before"), [(True, True), (True, False), (False, True)])
def test_join(with_after: bool, with_before: bool, zero_centred: bool) -> None:
    for width in (8, 24, 33, 72, 96):
        after, before = (RMSNorm(width, 1e-6, zero_centred) if given else nn.Identity()
                         for given in (with_after, with_before))

        def forward(x: Tensor, y: Tensor, first: Tensor, second: Tensor, after: nn.Module = after,
                    before: nn.Module = before) -> Tensor:
            norms = nn.ModuleList([after, before])
            weights = {f"{i}.weight": weight for i, weight in enumerate((first, second)) if list(norms[i].parameters())}
            h, m = torch.func.functional_call(Joined(norms), {f"norms.{k}": w for k, w in weights.items()}, (x, y))
            # Every leaf is used, so that each has a gradient.
            return torch.cat((h, m * m, (first + second).expand_as(h)), dim=-1)

        check(forward, torch.randn(3, 7, width), torch.randn(3, 7, width), torch.randn(width), torch.randn(width))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="router: the shapes"):
        native.router(torch.randn(8, 16), torch.randn(8, 24), None, active=1, groups=1, kept=1, softmax=False, scale=1)
    with pytest.raises(ValueError, match="experts: the shapes"):
        native.experts(torch.randn(8, 16), torch.randn(2, 16, 16), torch.randn(2, 8, 24),
                       torch.zeros(8, 1, dtype=torch.int64), torch.ones(8, 1), None)


@pytest.mark.parametrize("rope", [
    None, Rope(theta=1e4), Rope(theta=1e4, layout="interleaved"), Rope(theta=1e4, dims=8)])
@pytest.mark.parametrize(("heads", "kv", "dim", "window"), [(6, 1, 24, None), (4, 2, 20, 9), (3, 3, 16, None)])
def test_grouped_attention(heads: int, kv: int, dim: int, window: int | None, rope: Rope | None) -> None:
    spec = scaled(family("hyperclova-x-seed-think").spec, 500_000, context=64)
    mixer = Attention(heads=heads, kv_heads=kv, head_dim=dim, window=window, rope=rope, qk_norm=False, bias=True)
    module = GroupedQueryAttention(mixer, spec)

    def forward(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
        held = {"qkv.weight": weight, "qkv.bias": bias, "out.weight": out}
        return torch.func.functional_call(module, held, (x, None, None))  # type: ignore[no-any-return]

    weights = torch.randn_like(module.qkv.weight) * 0.3, torch.randn(sum(module.sizes)), module.out.weight
    for length in (1, 37, 70):
        check(forward, torch.randn(2, length, spec.width), *weights)


def test_joint_attention_refuses_shapes_that_do_not_fit() -> None:
    tables = torch.randn(4, 4), torch.randn(4, 4)
    for total, heads, given in ((7, 2, tables), (8, 4, (tables[0][:3], tables[1])), (8, 8, None)):
        with pytest.raises(ValueError, match="joint_attention: the shapes"):
            native.joint_attention(torch.randn(1, 4, total, 8), given, heads, None, 1.0)


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_z_loss_is_in_the_gradients_alone(scale: float) -> None:
    """Against autograd of cross-entropy + z * logsumexp^2 (PaLM, section 5), ignored rows and shares included."""
    draws = torch.Generator().manual_seed(5)
    hidden, weight = torch.randn(20, 32, generator=draws), torch.randn(70, 32, generator=draws)
    target = torch.randint(70, (20,), generator=draws)
    target[3] = -100
    share = torch.rand(20, generator=draws)
    ours, reference = [(hidden.clone().requires_grad_(), weight.clone().requires_grad_()) for _ in range(2)]
    value = ops.linear_cross_entropy(*ours, target, share, scale=scale, z_weight=0.01)
    value.backward()
    logits = scale * (reference[0] @ reference[1].T)
    losses = torch.nn.functional.cross_entropy(logits, target, ignore_index=-100, reduction="none")
    z = 0.01 * logits.logsumexp(-1).square() * (target != -100)
    ((losses + z) * share).sum().backward()
    torch.testing.assert_close(value.detach(), (losses * share).sum().detach(), rtol=1e-5, atol=1e-5)
    for one, other in zip(ours, reference, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)
