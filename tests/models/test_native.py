"""Each native kernel against PyTorch's path, judged by PyTorch's path in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from dokja.models import native, ops
from dokja.models.native.build import library

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")


def run(forward: Callable[..., Tensor], leaves: list[Tensor], grad: Tensor | None = None) -> list[Tensor]:
    """The output and the gradients of the leaves that are floating point."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in leaves]
    out = forward(*leaves)
    wanted = [x for x in leaves if x.requires_grad]
    if grad is None:
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    return [out.detach(), *torch.autograd.grad(out, wanted, grad.to(out.dtype))]


def check(forward: Callable[..., Tensor], *leaves: Tensor) -> None:
    """Native results are about as close to float64 as PyTorch's float32 results are, and repeat bit for bit."""
    ours = run(forward, list(leaves))
    again = run(forward, list(leaves))
    exact = run(forward, [x.double() if x.is_floating_point() else x for x in leaves])
    with native.off():
        theirs = run(forward, list(leaves))
    for mine, repeat, other, truth in zip(ours, again, theirs, exact, strict=True):
        assert torch.equal(mine, repeat)
        size = truth.abs().max().item()
        size = size if size > 1e-6 else 1.0  # a gradient that is exactly zero comes out as rounding
        error, reference = ((x.double() - truth).abs().max().item() / size for x in (mine, other))
        assert error <= max(4 * reference, 4e-6), (error, reference)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # these tensors are too small for more
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("width", [1, 15, 16, 20, 24, 33, 96, 192, 512])
def test_rms_norm(width: int) -> None:
    check(lambda x, w: ops.rms_norm(x, w, 1e-6), torch.randn(3, 7, width), torch.randn(width))


@pytest.mark.parametrize("dim", [2, 24, 33])
def test_rms_norm_of_views(dim: int) -> None:
    fused, weight = torch.randn(2, 5, 6 * dim), torch.randn(dim)
    check(lambda x, w: ops.rms_norm(x[..., dim : 4 * dim].unflatten(-1, (3, dim)), w, 1e-6), fused, weight)
    check(lambda x, w: ops.rms_norm(x[..., dim : 2 * dim], w, 1e-6), fused, weight)
    check(lambda x, w: ops.rms_norm(x.transpose(0, 1), w[: 6 * dim], 1e-6), fused, torch.randn(6 * dim))
    check(lambda x, w: ops.rms_norm(x.transpose(1, 2), w, 1e-6), torch.randn(2, dim, 5), weight)


@pytest.mark.parametrize("width", [1, 17, 48, 512])
def test_swiglu(width: int) -> None:
    check(ops.swiglu, torch.randn(2, 5, 2 * width) * 4)


@pytest.mark.parametrize(("rows", "width", "hidden"), [
    (8, 16, 8), (136, 64, 40), (272, 144, 336), (48, 72, 200), (7, 32, 24)])
def test_gated_mlp(rows: int, width: int, hidden: int) -> None:
    def forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        layers = [torch.nn.Linear(width, 2 * hidden, bias=False), torch.nn.Linear(hidden, width, bias=False)]
        if x.dtype is torch.float64 or not native.takes(x) or rows % 8:
            return ops.swiglu(x @ gate_up.t()) @ down.t()
        assert native.gated_mlp_takes(x, down)
        for layer, weight in zip(layers, (gate_up, down), strict=True):
            del layer.weight
            layer.weight = weight
        return ops.gated_mlp(x, layers[0], layers[1], "silu")

    check(forward, torch.randn(2, rows // 2, width) if rows % 2 == 0 else torch.randn(rows, width),
          torch.randn(2 * hidden, width) * 0.2, torch.randn(width, hidden) * 0.2)


def test_swiglu_of_large_values_is_finite() -> None:
    x = torch.tensor([[-200.0, -88.0, 88.0, 200.0, 1.0, 1.0, 1.0, 1.0]])
    check(ops.swiglu, x)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dim", [2, 20, 24, 64])
def test_rotate(dim: int, interleaved: bool) -> None:
    for shape in ((7, dim // 2), (2, 7, dim // 2)):
        angle = torch.randn(shape)

        def forward(x: Tensor, angle: Tensor = angle) -> Tensor:
            cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
            return ops.rotate(x[..., dim : 4 * dim].unflatten(-1, (3, dim)), cos, sin, interleaved=interleaved)

        check(forward, torch.randn(2, 7, 5 * dim))


@pytest.mark.parametrize(("rows", "vocab"), [(1, 77), (9, 16), (9, 257), (256, 77), (300, 77), (9, 2400)])
def test_linear_cross_entropy(rows: int, vocab: int) -> None:
    target = torch.randint(vocab, (rows,))
    target[1::5] = -100
    share = torch.rand(rows)

    def forward(hidden: Tensor, weight: Tensor) -> Tensor:
        # The shares follow the precision of the reference, as a model's would.
        return ops.linear_cross_entropy(hidden, weight, target, share.to(hidden.dtype), scale=0.5) * 3

    check(forward, torch.randn(rows, 24) * 2, torch.randn(vocab, 24))
    hidden, weight = torch.randn(rows, 24, requires_grad=True), torch.randn(vocab, 24)
    loss = ops.linear_cross_entropy(hidden, weight, target)
    loss.backward()
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(hidden @ weight.t(), target, reduction="sum"))
    assert hidden.grad is not None
    assert not hidden.grad[1::5].any()


def test_linear_cross_entropy_refuses_a_target_outside_of_the_vocabulary() -> None:
    with pytest.raises(ValueError, match="out of range"):
        ops.linear_cross_entropy(torch.randn(2, 4), torch.randn(5, 4), torch.tensor([1, 5]))


@pytest.mark.parametrize(("heads", "kv", "dim", "value"), [
    (8, 1, 24, 24), (3, 3, 20, 33), (6, 2, 33, 16), (10, 2, 64, 48), (32, 1, 16, 16), (2, 1, 96, 64)])
def test_attention(heads: int, kv: int, dim: int, value: int) -> None:
    for length, window in ((1, None), (5, 1), (37, None), (37, 8), (130, None), (130, 64), (130, 70), (65, 200)):
        q, k, v = torch.randn(2, length, heads, dim), torch.randn(2, length, kv, dim), torch.randn(2, length, kv, value)
        check(lambda q, k, v, w=window: ops.attention(q, k, v, window=w, scale=q.shape[-1] ** -0.5), q * 2, k, v)


def test_attention_of_split_views() -> None:
    def forward(qkv: Tensor) -> Tensor:
        q, k, v = (x.unflatten(-1, (-1, 24)) for x in qkv.split([96, 48, 48], dim=-1))
        return ops.attention(q, k, v, window=9, scale=0.2).flatten(2)

    check(forward, torch.randn(3, 40, 192))


def test_attention_sees_nothing_of_the_future() -> None:
    q, k, v = (torch.randn(1, 90, 2, 24) for _ in range(3))
    whole = ops.attention(q, k, v, window=None, scale=0.2)
    k[:, 50:], v[:, 50:] = 1e4, -1e4
    assert torch.equal(ops.attention(q, k, v, window=None, scale=0.2)[:, :50], whole[:, :50])


def test_attention_of_huge_scores_is_finite() -> None:
    q, k, v = torch.randn(1, 70, 2, 16) * 1e3, torch.randn(1, 70, 2, 16) * 1e3, torch.randn(1, 70, 2, 16)
    results = run(lambda q, k, v: ops.attention(q, k, v, window=None, scale=1.0), [q, k, v])
    assert all(x.isfinite().all() for x in results)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="rms_norm: the shapes"):
        ops.rms_norm(torch.randn(2, 8), torch.randn(7), 1e-6)
    with pytest.raises(ValueError, match="attention: the shapes"):
        ops.attention(torch.randn(1, 4, 2, 8), torch.randn(1, 4, 2, 8), torch.randn(1, 5, 2, 8), window=None, scale=1.0)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    x, weight = torch.randn(9, 33), torch.randn(33)
    assert torch.equal(ops.rms_norm(x, weight, 1e-6)[4:5], ops.rms_norm(x[4:5], weight, 1e-6))
    q, k, v = torch.randn(3, 70, 4, 24), torch.randn(3, 70, 2, 24), torch.randn(3, 70, 2, 16)
    whole, one = (ops.attention(q[i], k[i], v[i], window=None, scale=0.2) for i in (slice(0, 3), slice(1, 2)))
    assert torch.equal(whole[1:2], one)


def test_two_threads_give_the_same_rows() -> None:
    x, weight = torch.randn(64, 48), torch.randn(48)
    one = run(lambda x, w: ops.rms_norm(x, w, 1e-6), [x, weight])
    torch.set_num_threads(2)
    two = run(lambda x, w: ops.rms_norm(x, w, 1e-6), [x, weight])
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    torch.testing.assert_close(one[2], two[2])


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-W", "always", "-c", code], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={**os.environ, **environment})


# One small file without optimisation: it is the race that matters.
BUILDS = """from dokja.models.native import build
import ctypes, dataclasses
build.BASE_FLAGS = ("-O0", "-std=c++17", "-fPIC", "-shared", "-w")
print(hasattr(ctypes.CDLL(str(dataclasses.replace(build.KERNELS, sources=("rows.cpp",)).build())), "dokja_rms_norm"))
"""


def test_processes_that_build_at_once_share_one_library(tmp_path: object) -> None:
    processes = [python(BUILDS, DOKJA_CACHE=str(tmp_path)) for _ in range(2)]
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert out.strip() == "True", error
    assert len(os.listdir(f"{tmp_path}/native")) == 1


def test_without_a_compiler_pytorch_serves_after_one_warning() -> None:
    code = ("import torch; from dokja.models import ops; x = torch.randn(2, 8); [ops.swiglu(x) for _ in range(3)]; "
            "print(ops.rms_norm(x, torch.ones(8), 1e-6).shape)")
    without, refused = python(code, CXX="no-such-compiler"), python(code, DOKJA_NATIVE="0")
    missing, error = without.communicate(timeout=60)
    assert "Size([2, 8])" in missing
    assert error.count("native kernels are off") == 1
    off, error = refused.communicate(timeout=60)
    assert "Size([2, 8])" in off
    assert "native kernels" not in error
