"""Speed of the plain module against transformers' classes: `make bench-models`.

Both hold the same random weights of about 100M parameters (the reference's, read by our loader), in float32 on two
threads, and are timed in turn. Prefill: 512 tokens into a cache, logits of the last. Training step: two sequences of
512 tokens forward and backward, then PyTorch's fused AdamW. Its last lines are one a bar.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
import transformers
from transformers import (
    AXK1Config,
    AXK1ForCausalLM,
    Exaone4Config,
    Exaone4ForCausalLM,
    HyperCLOVAXConfig,
    HyperCLOVAXForCausalLM,
    PreTrainedModel,
)

from dokja.models import ops
from dokja.models.checkpoint.published import read_published
from dokja.models.decoder import Decoder

VOCAB, TOKENS, BATCH = 4096, 512, 2  # a head of more tokens would be far more than its share of so small a model
WINDOW, SHORT, LONG = 128, 2048, 16_384


def references() -> dict[str, Callable[[], PreTrainedModel]]:
    """A dense, a hybrid and a latent-attention mixture model of about 100M parameters."""
    common = {"vocab_size": VOCAB, "max_position_embeddings": 4096, "tie_word_embeddings": False,
              "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    dense = {"hidden_size": 768, "intermediate_size": 2048, "num_attention_heads": 12, "num_key_value_heads": 4,
             "head_dim": 64, "num_hidden_layers": 15}
    return {
        "dense (HyperCLOVA X)": lambda: HyperCLOVAXForCausalLM(HyperCLOVAXConfig(**common, **dense)),
        "hybrid (EXAONE 4.0)": lambda: Exaone4ForCausalLM(Exaone4Config(
            **common, **dense, sliding_window=WINDOW,
            layer_types=["full_attention" if i % 4 == 3 else "sliding_attention" for i in range(15)])),
        "MLA and mixture (A.X K1)": lambda: AXK1ForCausalLM(AXK1Config(
            **common, hidden_size=512, intermediate_size=1536, moe_intermediate_size=128, num_hidden_layers=8,
            num_attention_heads=8, num_key_value_heads=8, n_shared_experts=1, n_routed_experts=64,
            num_experts_per_tok=4, q_lora_rank=256, kv_lora_rank=128, qk_rope_head_dim=32, qk_nope_head_dim=64,
            v_head_dim=64, n_group=8, topk_group=4, first_k_dense_replace=1)),
    }


def prefill(model: Decoder | PreTrainedModel, ids: torch.Tensor) -> Callable[[], object]:
    """One prefill into a fresh cache."""
    position = torch.arange(ids.shape[1])[None]

    def ours() -> object:
        assert isinstance(model, Decoder)
        cache = model.new_cache(1, ids.shape[1])
        return model.logits(model.hidden(ids, cache, position)[:, -1:])

    return ours if isinstance(model, Decoder) else lambda: model(ids, use_cache=True, logits_to_keep=1)


def training_step(model: Decoder | PreTrainedModel, ids: torch.Tensor) -> Callable[[], object]:
    """Forward, backward and an AdamW update."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    target = torch.cat((ids[:, 1:], torch.full_like(ids[:, :1], -100)), dim=1)

    def step() -> object:
        if isinstance(model, Decoder):
            loss = model.losses(ids, target)[0]
        else:
            loss = model(ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def in_turn(works: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each work in each round, after one round that is not counted."""
    seconds: list[list[float]] = [[] for _ in works]
    for counted in range(-1, rounds):
        for work, times in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            if counted >= 0:
                times.append(time.perf_counter() - start)
    return seconds


def window_growth(rounds: int) -> float:
    """Attention with a window over LONG tokens, against LONG / SHORT times that over SHORT tokens."""
    def attend(length: int) -> Callable[[], object]:
        q, k, v = torch.randn(1, length, 12, 64), torch.randn(1, length, 4, 64), torch.randn(1, length, 4, 64)
        return lambda: ops.attention(q, k, v, window=WINDOW, scale=0.125)

    with torch.inference_mode():
        short, long = in_turn([attend(SHORT), attend(LONG)], rounds)
    return statistics.median(long) / (LONG / SHORT * statistics.median(short))


def main() -> None:
    """Measure, print the table and the bars, and write them as JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(f"dokja {commit.strip()}, transformers {transformers.__version__}, torch {torch.__version__}, "
          f"Python {platform.python_version()}, {psutil.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}")
    print(f"\n{'':26s}{'parameters':>12s}{'':10s}{'ours, ms':>10s}{'theirs, ms':>12s}{'ratio':>8s}  (least to most)")
    rows, bars = [], []
    for name, build in references().items():
        theirs = build().float().eval()
        with tempfile.TemporaryDirectory() as folder:
            theirs.save_pretrained(folder)
            ours = read_published(Path(folder))
        parameters = sum(p.numel() for p in theirs.parameters())
        ids = torch.randint(VOCAB, (BATCH, TOKENS))
        with torch.inference_mode():
            difference = (ours(ids[:1]) - theirs(ids[:1]).logits).abs().max().item()
            measured = {"prefill": in_turn([prefill(ours, ids[:1]), prefill(theirs, ids[:1])], arguments.rounds)}
        ours.train()
        theirs.train()
        measured["train"] = in_turn([training_step(ours, ids), training_step(theirs, ids)], arguments.rounds)
        for what, (mine, other) in measured.items():
            ratios = sorted(b / a for a, b in zip(mine, other, strict=True))
            ratio = statistics.median(ratios)
            print(f"{name:26s}{parameters:12,d}  {what:8s}{statistics.median(mine) * 1e3:10.1f}"
                  f"{statistics.median(other) * 1e3:12.1f}{ratio:8.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                  flush=True)
            goal = 1.5 if what == "train" and "mixture" in name else 1.0
            bars.append((f"{name}, {what}, times as fast as transformers", ratio, f"at least {goal}", ratio >= goal))
            rows.append({"model": name, "parameters": parameters, "what": what, "ours": statistics.median(mine),
                         "theirs": statistics.median(other), "ratio": ratio, "logits_differ_by": difference})
    growth = window_growth(arguments.rounds)
    bars.append((f"attention over {LONG:,} tokens with window {WINDOW}, times linear from {SHORT:,}", growth,
                 "at most 1.5", growth <= 1.5))
    print()
    for title, ours_value, goal_text, reached in bars:
        print(f"{'ok' if reached else 'short'}  {title}: {ours_value:.3g} (goal: {goal_text})")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({
            "commit": commit.strip(), "torch": torch.__version__, "transformers": transformers.__version__,
            "rows": rows, "bars": [{"bar": title, "ours": value, "goal": goal_text, "ok": bool(reached)}
                                   for title, value, goal_text, reached in bars]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
