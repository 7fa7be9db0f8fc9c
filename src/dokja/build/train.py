"""The trainer: one team's run as one object that can stop after any step and go on as if it had not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import DokjaError
from ..models.cost import training_flops_per_token
from ..models.decoder import Decoder
from ..models.ffn import MixtureOfExperts
from ..models.init import initialise
from ..models.spec import ModelSpec
from .optim import MuonAdamW, OptimConfig
from .packing import Sequences
from .schedule import Schedule
from .seeds import named_seed


@dataclass(frozen=True)
class TrainConfig:
    """One run. `seed` names everything random: "init" and "order" are derived from it.

    batch: sequences a step. mtp_weight: weight of the MTP losses' mean (DeepSeek-V3 uses 0.3, then 0.1).
    balance_rate: how far a router's bias moves a step towards underused experts (Wang et al. 2024, arXiv 2408.15664);
    balance_weight: weight of the auxiliary loss of routers without a bias. clip: largest gradient norm.
    """

    seed: int
    batch: int = 8
    mtp_weight: float = 0.1
    balance_rate: float = 0.01
    balance_weight: float = 0.01
    clip: float = 1.0
    optim: OptimConfig = field(default_factory=OptimConfig)


@dataclass(frozen=True)
class Step:
    """What one step did: loss in nats per counted token, tokens and FLOPs of the whole run so far."""

    step: int
    loss: float
    rate: float
    gradient_norm: float
    tokens: int
    flops: float


class Trainer:
    """Weights, optimizer and position of one run; `save` and `restore` carry all of it."""

    def __init__(self, spec: ModelSpec, data: Sequences, config: TrainConfig, schedule: Schedule) -> None:
        self.spec, self.data, self.config, self.schedule = spec, data, config, schedule
        self.model = Decoder(spec)
        initialise(self.model, named_seed(config.seed, "init"))
        self.model.train()
        self.optimizer = MuonAdamW(self.model, config.optim)
        self.mixtures = [module for module in self.model.modules() if isinstance(module, MixtureOfExperts)]
        self.step_index = 0
        self.tokens_per_step = config.batch * spec.context
        self.flops_per_step = self.tokens_per_step * training_flops_per_token(spec, spec.context)
        self._order_seed = named_seed(config.seed, "order")

    def step(self) -> Step:
        """One batch: losses, gradients, update, expert balance. A loss that is not finite raises DokjaError."""
        config = self.config
        ids, targets, weights = self.data.batch(self._order_seed, self.step_index * config.batch, config.batch)
        loss, further = self.model.losses(ids, targets, weights)
        objective = loss
        if further:
            objective = objective + config.mtp_weight * torch.stack(further).mean()
        balances = [mixture.balance for mixture in self.mixtures if mixture.balance is not None]
        if balances:
            objective = objective + config.balance_weight * torch.stack(balances).sum()
        objective.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        value = float(loss.detach())
        if not math.isfinite(value) or not bool(torch.isfinite(norm)):
            self.model.zero_grad()  # else a restored run would start from them
            raise DokjaError(f"training of {self.spec.name} diverged at step {self.step_index}: lower the learning "
                             "rate; the last checkpoint is intact")
        rate = self.schedule.rate(self.step_index)
        self.optimizer.step(rate)
        self._balance_experts()
        self.step_index += 1
        return Step(self.step_index, value, rate, float(norm), self.step_index * self.tokens_per_step,
                    self.step_index * self.flops_per_step)

    def run(self, until: int, report: Callable[[Step], None]) -> None:
        """Train up to step `until`, reporting each step."""
        while self.step_index < until:
            report(self.step())

    def _balance_experts(self) -> None:
        for mixture in self.mixtures:
            if mixture.moe.router.bias and mixture.load_E is not None:
                load = mixture.load_E.float()
                bias = mixture.router_bias
                assert isinstance(bias, torch.Tensor)
                bias += self.config.balance_rate * torch.sign(load.mean() - load)

    def save(self, path: Path, extra: dict[str, Any] | None = None) -> None:
        """One safetensors file with everything that must survive, `extra` (JSON) included; complete or not there."""
        draft = path.with_name(path.name + ".draft")
        save_file({name: tensor.contiguous() for name, tensor in self._tensors().items()}, draft,
                  metadata={"step": str(self.step_index), "spec": json.dumps(self.spec.to_dict()),
                            "extra": json.dumps(extra or {})})
        draft.replace(path)

    @torch.no_grad()
    def restore(self, path: Path) -> dict[str, Any]:
        """Go back to a saved step and return its `extra`.

        A file that is no checkpoint of this architecture raises DokjaError and leaves the run as it was.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                spec, step = json.loads(metadata["spec"]), int(metadata["step"])
                extra: dict[str, Any] = json.loads(metadata["extra"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise DokjaError(f"{path} is not a readable checkpoint ({error}): delete it to begin the run "
                             "again") from error
        if spec != self.spec.to_dict():
            raise DokjaError(f"{path} is a checkpoint of another architecture than {self.spec.name}")
        mine = self._tensors()
        if {name: tensor.shape for name, tensor in tensors.items()} != {name: tensor.shape
                                                                       for name, tensor in mine.items()}:
            raise DokjaError(f"{path} lacks tensors of {self.spec.name} or of its optimizer: delete it to begin the "
                             "run again")
        for name, tensor in mine.items():
            tensor.copy_(tensors[name])
        self.step_index = self.optimizer.steps = step
        return extra

    def _tensors(self) -> dict[str, torch.Tensor]:
        """All of the run's tensors, by the names they have in a checkpoint; tied weights once."""
        model = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()
                 if not (self.spec.tied and name == "head.weight")}
        return model | {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state_tensors().items()}
