"""litgpt's pretrain with its own loop; it always compiles, so `eager` is run under TORCHDYNAMO_DISABLE=1."""

from __future__ import annotations

import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from job import Job
from litgpt import pretrain
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset[torch.Tensor]):
    """Rows in the job's order."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __len__(self) -> int:
        return 1 << 16

    def __getitem__(self, index: int) -> torch.Tensor:
        step, row = divmod(index, self.job.batch)
        if row == 0 or getattr(self, "step", None) != step:
            self.step, self.rows = step, self.job.rows(step)
        return self.rows[row]


class Text(DataModule):
    """The job's text; what litgpt checks itself with before it begins is one batch of it."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def connect(self, *_: Any, **__: Any) -> None: ...

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(Rows(self.job), batch_size=self.job.batch)

    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(Rows(self.job), batch_size=self.job.batch)


def main() -> None:
    job = Job()
    shape = job.shape
    config = Config(
        name="shape", block_size=shape["context"], vocab_size=shape["vocab"], padded_vocab_size=shape["vocab"],
        n_layer=shape["layers"], n_head=shape["heads"], n_query_groups=shape["kv_heads"], n_embd=shape["width"],
        head_size=shape["head_dim"], rotary_percentage=1.0, parallel_residual=False, bias=False,
        norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", intermediate_size=shape["hidden"], norm_eps=1e-5)
    job.about = {"litgpt": metadata.version("litgpt")}
    wrapped = pretrain.chunked_cross_entropy

    def noting(logits: torch.Tensor, targets: torch.Tensor, **named: Any) -> torch.Tensor:
        loss = wrapped(logits, targets, **named)
        if torch.is_grad_enabled() and loss.device.type == "cpu":
            job.losses.append(float(loss.detach()))
        return loss

    pretrain.chunked_cross_entropy = noting
    counted = pretrain.num_parameters

    def counting(model: torch.nn.Module, *rest: Any) -> int:
        job.about["parameters"] = counted(model, *rest)
        return int(job.about["parameters"])

    pretrain.num_parameters = counting
    job.watch()
    pretrain.setup(
        "shape", model_config=config, out_dir=Path(tempfile.mkdtemp()),
        precision="bf16-mixed" if job.precision == "bf16" else "32-true", data=Text(job),
        train=TrainArgs(save_interval=None, log_interval=1, global_batch_size=job.batch, micro_batch_size=job.batch,
                        max_tokens=1 << 40, max_norm=1.0, lr_warmup_steps=10, max_seq_length=shape["context"]),
        eval=EvalArgs(interval=1 << 30, max_iters=1, final_validation=False, initial_validation=False),
        optimizer={"class_path": "torch.optim.AdamW",
                   "init_args": {"lr": 1e-3, "betas": [0.9, 0.95], "weight_decay": 0.1, "fused": True}},
        devices=1, logger_name="csv", seed=job.seed)


main()
