"""Forward plus backward of each operation, native kernel against PyTorch, one thread: `python benchmarks/ops.py`."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from dokja.models import native, ops

TOKENS, BATCH, LENGTH = 2048, 8, 256


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


def cases() -> dict[str, tuple[Callable[[], Tensor], list[Tensor]]]:
    """Name: (forward, its leaves)."""
    made: dict[str, tuple[Callable[[], Tensor], list[Tensor]]] = {}
    for width in (96, 192):
        x, weight = leaf(TOKENS, width), leaf(width)
        made[f"rms_norm {width}"] = (lambda x=x, w=weight: ops.rms_norm(x, w, 1e-6), [x, weight])
    qkv, head_weight = leaf(BATCH, LENGTH, 10 * 24), leaf(24)
    head = lambda: qkv[..., :192].unflatten(-1, (8, 24))
    made["rms_norm 8 x 24 of qkv"] = (lambda: ops.rms_norm(head(), head_weight, 1e-6), [qkv, head_weight])
    angle = torch.outer(torch.arange(LENGTH), torch.rand(12))
    made["rotate 8 x 24 of qkv"] = (lambda: ops.rotate(head(), angle.cos(), angle.sin()), [qkv])
    for width in (256, 512):
        gate_up = leaf(TOKENS, 2 * width)
        made[f"swiglu {width}"] = (lambda x=gate_up: ops.swiglu(x), [gate_up])
    state, table, target = leaf(TOKENS, 192), leaf(2400, 192), torch.randint(2400, (TOKENS,))
    made["linear_cross_entropy 192 x 2400"] = (
        lambda: ops.linear_cross_entropy(state, table, target), [state, table])
    for heads, kv, dim, value, window in ((8, 1, 24, 24, None), (8, 1, 24, 24, 64), (8, 2, 24, 24, None),
                                          (4, 4, 48, 32, None), (6, 2, 64, 64, None)):
        q, k, v = leaf(BATCH, LENGTH, heads, dim), leaf(BATCH, LENGTH, kv, dim), leaf(BATCH, LENGTH, kv, value)
        made[f"attention {heads}:{kv} x {dim}/{value}, window {window}"] = (
            lambda q=q, k=k, v=v, w=window: ops.attention(q, k, v, window=w, scale=q.shape[-1] ** -0.5), [q, k, v])
    for hidden in (48, 96):
        x, gate_up, down = leaf(TOKENS, 128), leaf(32, 128, 2 * hidden), leaf(32, hidden, 128)
        expert, weight = torch.rand(TOKENS, 32).topk(2).indices, leaf(TOKENS, 2)
        load = expert.flatten().bincount(minlength=32)
        made[f"experts 32 x 128 x {hidden}, 2 active"] = (
            lambda x=x, g=gate_up, d=down, e=expert, w=weight, n=load: ops.experts(x, g, d, e, w, n),
            [x, gate_up, down, weight])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="operations whose name starts so")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    # On one thread, time on the processor: other work on the machine then costs caches only.
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    print(f"{'milliseconds, forward + backward':36} {'native':>8} {'PyTorch':>8} {'ratio':>6}")
    for name, (forward, leaves) in cases().items():
        if not name.startswith(arguments.only):
            continue
        grad = torch.randn_like(forward())
        times: dict[bool, list[float]] = {True: [], False: []}
        for i in range(arguments.repeats + 3):
            for ours in (True, False):  # interleaved, so that other work on the machine slows both
                with nullcontext() if ours else native.off():
                    start = clock()
                    out = forward()
                    torch.autograd.grad(out, leaves, grad)
                    if i >= 3:
                        times[ours].append(clock() - start)
                    del out
        ours_ms, torch_ms = (statistics.median(times[key]) * 1e3 for key in (True, False))
        print(f"{name:36} {ours_ms:8.2f} {torch_ms:8.2f} {torch_ms / ours_ms:6.1f}")


if __name__ == "__main__":
    main()
