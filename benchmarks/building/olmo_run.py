"""OLMo-core's Trainer on its Llama-like transformer."""

from __future__ import annotations

import os
import tempfile
from importlib import metadata
from typing import Any

os.environ.setdefault("OLMO_SHARED_FS", "1")

import torch
from job import Job
from olmo_core.data import NumpyDataLoaderConfig, NumpyFSLDatasetConfig, TokenizerConfig
from olmo_core.nn.feed_forward import FeedForwardConfig
from olmo_core.nn.transformer import TransformerConfig
from olmo_core.optim import AdamWConfig
from olmo_core.train import Duration, TrainerConfig, prepare_training_environment
from olmo_core.train.train_module import TransformerTrainModuleConfig


def main() -> None:
    job = Job()
    shape = job.shape
    prepare_training_environment(seed=job.seed, backend=None)
    work = tempfile.mkdtemp()
    model = TransformerConfig.llama_like(
        d_model=shape["width"], vocab_size=shape["vocab"], n_layers=shape["layers"], n_heads=shape["heads"],
        n_kv_heads=shape["kv_heads"], rope_theta=10_000,
        feed_forward=FeedForwardConfig(hidden_size=shape["hidden"], bias=False)).build(init_device="cpu")
    model.init_weights(device=torch.device("cpu"))
    precision: dict[str, Any] = {"autocast_precision": torch.bfloat16} if job.precision == "bf16" else {}
    module = TransformerTrainModuleConfig(
        rank_microbatch_size=job.batch * job.context, max_sequence_length=job.context, compile_model=job.compiled,
        optim=AdamWConfig(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True), max_grad_norm=1.0,
        **precision).build(model)
    data = NumpyFSLDatasetConfig(
        tokenizer=TokenizerConfig(vocab_size=shape["vocab"], eos_token_id=0, pad_token_id=0),
        paths=[job.options["raw"]], sequence_length=job.context, work_dir=work).build()
    loader = NumpyDataLoaderConfig(global_batch_size=job.batch * job.context, seed=job.seed, num_workers=0,
                                   work_dir=work).build(data)
    job.about = {"olmo-core": metadata.version("ai2-olmo-core"),
                 "parameters": sum(p.numel() for p in model.parameters())}
    record = module.record_ce_loss

    def noting(loss: Any, *rest: Any, **named: Any) -> None:
        job.losses.append(float(loss))
        record(loss, *rest, **named)

    module.record_ce_loss = noting
    trainer = TrainerConfig(save_folder=work, max_duration=Duration.steps(1 << 20), no_checkpoints=True, no_evals=True,
                            metrics_collect_interval=10).build(module, loader)
    job.watch()
    trainer.fit()


main()
