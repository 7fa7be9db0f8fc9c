"""nanochat's model and optimizer in the steps of its scripts/base_train.py, which is a script and cannot be called.

Throughput takes its AdamW for every parameter, as all others do; with `recipe` of the options it is its own: MuonAdamW,
its learning rates scaled to the batch by its rule, its warm-up and warm-down, momentum and weight decay schedules.
"""

from __future__ import annotations

import gc
import math
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers" / "nanochat" / "repository"))
os.environ.setdefault("NANOCHAT_DTYPE", "float32")

import torch  # noqa: E402
from job import Job, trapezoid  # noqa: E402

os.environ["NANOCHAT_DTYPE"] = "bfloat16" if Job().precision == "bf16" else "float32"

from nanochat.gpt import GPT, GPTConfig, Linear  # noqa: E402
from nanochat.optim import MuonAdamW  # noqa: E402

REFERENCE_BATCH = 2**19  # base_train.py: the batch, in tokens, at which its learning rates were tuned
RATES = {"unembedding_lr": 0.008, "embedding_lr": 0.3, "scalar_lr": 0.5, "matrix_lr": 0.02}  # its defaults
WEIGHT_DECAY, DATA_RATIO = 0.28, 12  # its defaults: of Muon; tokens a parameter
WARM_STEPS, WARM_DOWN, FLOOR = 40, 0.65, 0.05


def main() -> None:
    job = Job()
    shape = job.shape
    with torch.device("meta"):
        model = GPT(GPTConfig(sequence_len=shape["context"], vocab_size=shape["vocab"], n_layer=shape["layers"],
                              n_head=shape["heads"], n_kv_head=shape["kv_heads"], n_embd=shape["width"],
                              window_pattern="L"))  # what its documentation says for machines without FlashAttention 3
        reference = GPT(GPTConfig(vocab_size=shape["vocab"], n_layer=12, n_head=6, n_kv_head=6, n_embd=768))
    model.to_empty(device=job.device)
    model.init_weights()
    matrices = sum(module.weight.numel() for module in model.modules() if isinstance(module, Linear))
    job.about = {"nanochat": (HERE / "peers" / "nanochat" / "commit").read_text().strip()[:7],
                 "parameters": sum(p.numel() for p in model.parameters()), "matrices": matrices}
    recipe = job.options.get("recipe", False)
    batch = job.batch * shape["context"]
    decay = 0.0
    if recipe:
        scale = (batch / REFERENCE_BATCH) ** 0.5 * job.options.get("rate", 1.0)

        def scaling(of: GPT) -> int:
            counts = of.num_scaling_params()
            return int(counts["transformer_matrices"] + counts["lm_head"])

        # Its rule for weight decay, with its own horizon.
        decay = WEIGHT_DECAY * math.sqrt(batch / REFERENCE_BATCH) * scaling(reference) / scaling(model)
        rates = {name: rate * scale for name, rate in RATES.items()}
        optimizer = model.setup_optimizer(**rates, weight_decay=decay)
    else:
        optimizer = MuonAdamW([{"kind": "adamw", "params": list(model.parameters()), "lr": 1e-3, "betas": (0.9, 0.95),
                                "eps": 1e-8, "weight_decay": 0.1}])
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    def nats(ids: torch.Tensor, targets: torch.Tensor) -> float:
        return float(model(ids, targets.masked_fill(targets == -100, -1), loss_reduction="sum"))

    compiled = torch.compile(model, dynamic=False)  # does nothing under TORCHDYNAMO_DISABLE=1, the eager mode
    job.watch(nats, hook=False)
    step = 0
    while True:
        rows = job.rows(step).to(job.device)
        loss = compiled(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        noted = loss.detach()
        loss.backward()
        progress = job.progress()
        warm = (step + 1) / job.options.get("warm", WARM_STEPS)
        rate = min(1.0, warm, trapezoid(progress, warm=0.0, decay=WARM_DOWN, floor=FLOOR))
        falling = max(0.0, (progress - (1 - WARM_DOWN)) / WARM_DOWN)
        momentum = 0.85 + 0.12 * step / 400 if step < 400 else 0.97
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
            if group["kind"] == "muon":
                group["momentum"] = momentum if step < 400 or not falling else 0.97 - 0.07 * falling
                group["weight_decay"] = decay * 0.5 * (1 + math.cos(math.pi * progress))
        optimizer.step()
        model.zero_grad(set_to_none=True)
        job.losses.append(noted.item())
        if step == 0:  # as base_train.py
            gc.collect()
            gc.freeze()
            gc.disable()
        step += 1
        job.tick()


main()
