"""The trainer: one run as one object that can stop after any step and go on as if it had not.

It is a program for one device. What makes it one of many (`Parallel`), precision, recomputation and compilation are
applied from outside, here, to a model that knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...errors import DokjaError
from ...models import native
from ...models.decoder import Decoder
from ...models.ffn import MixtureOfExperts
from ...models.init import initialise
from ...models.spec import ModelSpec
from ..layout import Box
from ..machine import device_of
from ..optim import Exchange, MuonAdamW, OptimConfig, Update, local
from ..schedule import Schedule
from ..seeds import named_seed
from .float8 import to_float8
from .guard import Guard, GuardConfig
from .objective import Batch, Objective


@dataclass(frozen=True)
class TrainConfig:
    """How a run steps. `seed` names everything random: "init" is derived from it here, "order" by the objective.

    micro_batch: rows at a time, whose gradients are added up; None takes all of a batch (of this rank) at once.
    clip: largest gradient norm. balance_rate: how far a router's bias moves a step towards underused experts (Wang et
    al. 2024, arXiv 2408.15664). guard: None stops at the first loss that is no finite number.
    precision: "bf16" computes matrix products in bfloat16 (torch.autocast); weights and optimizer stay in float32.
    "fp8" has the blocks' linear layers in float8 (`float8.to_float8`) and all else as "bf16".
    recompute: keep only each block's input and compute the block again in the backward pass. device: a torch device.
    """

    seed: int
    micro_batch: int | None = None
    clip: float = 1.0
    balance_rate: float = 0.01
    optim: OptimConfig = field(default_factory=OptimConfig)
    guard: GuardConfig | None = None
    precision: Literal["fp32", "bf16", "fp8"] = "fp32"
    recompute: bool = False
    compile: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Step:
    """What one step did: loss in nats per counted token, the learning rate's factor, the gradient's norm before
    clipping, tokens and FLOPs of the whole run so far, the objective's further numbers, and why the step was not taken
    (None where it was)."""

    step: int
    loss: float
    rate: float
    gradient_norm: float
    tokens: int
    flops: float
    numbers: Mapping[str, float] = field(default_factory=dict)
    skipped: str | None = None


class Parallel(Protocol):
    """This process among those of a run.

    `rank` of `world` along the data dimension: which rows of a batch it takes; their gradients are summed over it.
    `index` of `count` among all processes; 0 alone writes logs. device: this process's own, None for the config's.
    """

    rank: int
    world: int
    index: int
    count: int
    device: torch.device | None

    def apply(self, model: Decoder) -> None:
        """Shard the parameters in place."""
        ...

    def any(self, value: bool) -> bool:
        """Whether it is true on any process; all must ask."""
        ...

    def exchange(self, updates: list[Update]) -> None:
        """Muon's steps where a process holds parts of matrices (`MuonAdamW`)."""
        ...

    def held(self, name: str, tensor: Tensor) -> tuple[tuple[int, ...], list[Box], bool]:
        """Of a tensor of `Trainer.tensors()`: the whole one's shape, the boxes of it that are here, and whether it is
        for this process to save them."""
        ...

    def whole(self, name: str, tensor: Tensor) -> Tensor:
        """The whole of a tensor of `Trainer.tensors()`, on every process; all must ask."""
        ...

    def close(self) -> None:
        """Leave the others, after all have come here."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the data dimension, the same on all ranks."""
        ...

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> Tensor:
        """Scale all gradients so that their norm over the whole model is at most `most`; the norm before."""
        ...


class Alone:
    """One process that has everything."""

    rank, world, index, count = 0, 1, 0, 1
    device: torch.device | None = None

    def apply(self, model: Decoder) -> None: ...

    def any(self, value: bool) -> bool:
        return value

    def exchange(self, updates: list[Update]) -> None: ...

    def held(self, name: str, tensor: Tensor) -> tuple[tuple[int, ...], list[Box], bool]:
        shape, none = tuple(tensor.shape), (0,) * tensor.ndim
        return shape, [Box(none, shape, none)], True

    def whole(self, name: str, tensor: Tensor) -> Tensor:
        return tensor

    def close(self) -> None: ...

    def sum(self, values: Tensor) -> Tensor:
        return values

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> Tensor:
        return nn.utils.clip_grad_norm_(parameters, most)


class Trainer:
    """Weights, optimizer and position of one run. All that must survive a restart is `tensors()` and `state()`."""

    def __init__(self, spec: ModelSpec, objective: Objective, config: TrainConfig, schedule: Schedule, *,
                 model: Decoder | None = None, parallel: Parallel | None = None) -> None:
        """model: the weights to begin from, random ones from the seed without it."""
        self.spec, self.objective, self.config, self.schedule = spec, objective, config, schedule
        self.parallel: Parallel = parallel or Alone()
        self.device = self.parallel.device or device_of(config.device)
        self.model = Decoder(spec) if model is None else model
        if model is None:
            initialise(self.model, named_seed(config.seed, "init"))
        self.model.to(self.device).train()
        if config.precision == "fp8":
            to_float8(self.model, self.device)
        if self.device.type == "cpu":
            native.keep_pages()
        if config.recompute:
            for block in self.model.layers:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
        self.parallel.apply(self.model)
        if config.compile:
            for block in self.model.layers:
                block.compile()  # one block at a time: all of a kind share their code
        exchange: Exchange | None = None if self.parallel.count == 1 else self.parallel.exchange
        self.optimizer = MuonAdamW(self.model, config.optim, exchange)
        self.mixtures = [module for module in self.model.modules() if isinstance(module, MixtureOfExperts)]
        self.guard = Guard(config.guard or GuardConfig(sigmas=0, patience=1))
        self.step_index = self.tokens = 0
        self.flops = 0.0

    def step(self) -> Step:
        """One batch: losses, gradients, update, expert balance.

        A step that the guard refuses changes nothing but the position in the data. Raises DokjaError when it has
        refused too many in a row.
        """
        batch = self.objective.batch(self.model, self.step_index)
        numbers, loads = self._accumulate(batch)
        norm = float(self.parallel.clip(self.model.parameters(), self.config.clip))
        loss = numbers.pop("loss")
        rate = self.schedule.rate(self.step_index)
        refused = self.guard.refuses(loss, norm)
        if refused is None:
            self.optimizer.step(rate)
            self._balance_experts(loads)
        else:
            self.model.zero_grad()  # else a restored run would start from them
            if self.guard.exhausted:
                raise DokjaError(f"training of {self.spec.name} diverged at step {self.step_index} ({refused}): lower "
                                 "the learning rate; the last checkpoint is intact")
        self.step_index += 1
        self.tokens += batch.tokens
        self.flops += batch.flops
        return Step(self.step_index, loss, rate, norm, self.tokens, self.flops, {**batch.numbers, **numbers}, refused)

    def run(self, until: int, report: Callable[[Step], None]) -> None:
        """Train up to step `until`, reporting each step."""
        while self.step_index < until:
            report(self.step())

    def _accumulate(self, batch: Batch) -> tuple[dict[str, float], list[Tensor]]:
        """Gradients of this rank's rows; numbers and the experts' loads of all."""
        rank, world = self.parallel.rank, self.parallel.world
        if batch.size % world:
            raise DokjaError(f"a batch of {batch.size} rows does not divide among {world} processes: choose a multiple "
                             "of them")
        first, last = batch.size * rank // world, batch.size * (rank + 1) // world
        sums: dict[str, Tensor] = {}
        loads: list[Tensor] = []
        for part in batch.parts(first, last, self.config.micro_batch or last - first):
            with self._precision():
                loss, numbers = self.objective.loss(self.model, part.to(self.device))
            loss.backward()
            for name, value in numbers.items():
                sums[name] = sums[name] + value if name in sums else value
            new = [mixture.load_E for mixture in self.mixtures if mixture.load_E is not None]
            loads = [old + more for old, more in zip(loads, new, strict=True)] if loads else new
        flat = self.parallel.sum(torch.stack([value.detach().double() for value in sums.values()]))
        return dict(zip(sums, flat.tolist(), strict=True)), [self.parallel.sum(load) for load in loads]

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _balance_experts(self, loads: list[Tensor]) -> None:
        for mixture, load_E in zip(self.mixtures, loads, strict=False):
            if mixture.moe.router.bias:
                load = load_E.float()
                bias = mixture.router_bias
                assert isinstance(bias, Tensor)
                bias += self.config.balance_rate * torch.sign(load.mean() - load)

    def tensors(self) -> dict[str, Tensor]:
        """What this process holds of the run's tensors, by the names they have in a checkpoint; tied weights once."""
        model = {f"model.{name}": local(tensor) for name, tensor in self.model.state_dict().items()
                 if not (self.spec.tied and name == "head.weight")}
        return model | {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state_tensors().items()}

    def state(self) -> dict[str, Any]:
        """All else that must survive, as JSON."""
        return {"spec": self.spec.to_dict(), "step": self.step_index, "updates": self.optimizer.steps,
                "tokens": self.tokens, "flops": self.flops, "guard": self.guard.state()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], where: str) -> None:
        """Go back to what `tensors` and `state` said; `where` names their file in errors.

        What belongs to another architecture raises DokjaError and leaves the run as it was.
        """
        if state["spec"] != self.spec.to_dict():
            raise DokjaError(f"{where} is a checkpoint of another architecture than {self.spec.name}")
        mine = self.tensors()
        if {name: tensor.shape for name, tensor in tensors.items()} != {name: tensor.shape
                                                                       for name, tensor in mine.items()}:
            raise DokjaError(f"{where} lacks tensors of {self.spec.name} or of its optimizer: delete it to go on from "
                             "the one before")
        for name, tensor in mine.items():
            tensor.copy_(tensors[name])
        self.step_index, self.optimizer.steps = state["step"], state["updates"]
        self.tokens, self.flops = state["tokens"], state["flops"]
        self.guard.restore(**state["guard"])

