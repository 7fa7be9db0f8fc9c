"""transformers' Trainer on a Llama, or on a Qwen3-MoE where the shape has experts."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import transformers
from job import Job, cosine
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, Trainer, TrainingArguments

LEARNING = {"lr": 2e-3, "weight_decay": 0.1, "warm": 0.05, "floor": 0.1}


class Rows(Dataset[dict[str, torch.Tensor]]):
    """Rows in the job's order; the Trainer shifts labels itself."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        step, row = divmod(index, self.job.batch)
        if row == 0 or getattr(self, "step", None) != step:
            self.step, self.rows = step, self.job.rows(step)
        ids = self.rows[row, :-1]
        return {"input_ids": ids, "labels": ids}


class InOrder(Trainer):
    """The Trainer with the rows as they come, and each step's loss noted."""

    job: Job

    def _get_train_sampler(self, *_: Any, **__: Any) -> None:
        return None

    def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        loss = super().training_step(*arguments, **named)
        self.job.losses.append(float(loss))
        return loss


def build(job: Job) -> torch.nn.Module:
    """The model of the shape; `experts_implementation` of the options is for mixtures."""
    shape = job.shape
    common: dict[str, Any] = {
        "vocab_size": shape["vocab"], "hidden_size": shape["width"], "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"], "num_key_value_heads": shape["kv_heads"], "head_dim": shape["head_dim"],
        "max_position_embeddings": shape["context"], "rms_norm_eps": 1e-5, "rope_theta": 10_000.0,
        "tie_word_embeddings": False, "use_cache": False, "attn_implementation": "sdpa"}
    if not shape.get("experts"):
        return LlamaForCausalLM(LlamaConfig(intermediate_size=shape["hidden"], **common))
    config = Qwen3MoeConfig(
        num_experts=shape["experts"], num_experts_per_tok=shape["active"], moe_intermediate_size=shape["hidden"],
        intermediate_size=shape["hidden"], norm_topk_prob=True, output_router_logits=True, router_aux_loss_coef=0.01,
        **common)
    config._experts_implementation = job.options.get("experts", "grouped_mm")
    return Qwen3MoeForCausalLM(config)


def main() -> None:
    job = Job()
    learning = LEARNING | job.options.get("learning", {})
    model = build(job)
    job.about = {"transformers": transformers.__version__, "parameters": sum(p.numel() for p in model.parameters())}
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(), use_cpu=job.device.type == "cpu", per_device_train_batch_size=job.batch,
        max_steps=1 << 19, save_strategy="no", logging_steps=1000, report_to=[], disable_tqdm=True, seed=job.seed,
        max_grad_norm=1.0, torch_compile=job.compiled, bf16=job.precision == "bf16", dataloader_num_workers=0)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    # fused: the Trainer's own default for AdamW.
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": vectors, "weight_decay": 0.0}], lr=learning["lr"],
                                  betas=(0.9, 0.95), weight_decay=learning["weight_decay"], fused=True)
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda _: cosine(job.progress(), warm=learning["warm"], floor=learning["floor"]))
    trainer = InOrder(model=model, args=arguments, train_dataset=Rows(job), optimizers=(optimizer, rates))
    trainer.job = job

    def nats(ids: torch.Tensor, targets: torch.Tensor) -> float:
        model.eval()
        logits = model(input_ids=ids, use_cache=False).logits if not job.shape.get("experts") else \
            model(input_ids=ids, use_cache=False, output_router_logits=False).logits
        return float(F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum"))

    job.watch(nats)
    trainer.train()


main()
