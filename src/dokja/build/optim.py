"""Muon for the matrices, AdamW for the rest, as one optimizer whose state is a flat table of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..models import native
from ..models.attention import GroupedQueryAttention
from ..models.decoder import Decoder
from ..models.ffn import GatedMLP, MixtureOfExperts

# Quintic Newton-Schulz coefficients of Muon (Jordan et al. 2024): steep at zero, singular values end in 0.7 ... 1.2.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(update: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix to each [..., M, N] matrix, by Newton-Schulz iteration.

    Each step multiplies X by F = A I + B G + C G G with G = X X^T. G of the next step is F G F, so the steps need only
    the small square matrices, and X meets the product of all F once.
    """
    x = update.to(torch.promote_types(update.dtype, torch.float32))
    shape, tall = x.shape, x.shape[-2] > x.shape[-1]
    x = (x.mT if tall else x).flatten(0, -3) if x.ndim > 2 else (x.mT if tall else x)[None]
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram, product = x @ x.mT, None
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C)
        factor.diagonal(dim1=-2, dim2=-1).add_(_A)
        product = factor if product is None else product @ factor
        if step + 1 < steps:
            gram = factor @ gram @ factor
    if product is not None:
        x = product @ x
    x = x.mT if tall else x
    return x.reshape(shape)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor that may be sharded (a DTensor); the same memory."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def orthogonal_step(update: Tensor, splits: tuple[int, ...], axis: int) -> Tensor:
    """Muon's step for matrices [..., M, N] that hold several along an axis, at a learning rate of 1."""
    if native.takes(update):
        step = torch.zeros(update.shape)
        same = step, update.contiguous(), torch.zeros(update.shape)  # a step from nothing, without momentum
        native.muon(list(zip(*(x.split(splits, axis) if splits else (x,) for x in same), strict=True)), 0.0, -0.2, 1.0)
        return step
    parts = update.split(splits, axis) if splits else (update,)
    steps = [orthogonalise(part) * (0.2 * max(part.shape[-2:]) ** 0.5) for part in parts]
    return torch.cat(steps, axis) if splits else steps[0]


@dataclass
class Update:
    """A parameter's update before it is orthogonalised: of a sharded one, `held` is what this process has of it."""

    name: str
    held: Tensor
    splits: tuple[int, ...]
    axis: int


Exchange = Callable[[list[Update]], None]


@dataclass(frozen=True)
class OptimConfig:
    """Learning rates are at the peak of the schedule.

    muon_lr: RMS of one step's change of a matrix entry before 0.2 sqrt(max(M, N)) (Moonlight, arXiv 2502.16982,
    equation 4, which gives Muon the update size of AdamW). weight_decay is decoupled and times the learning rate.
    base_width: the width at which the rates were found; at another one Muon's is times sqrt(base_width / width), since
    its step has the spectral norm 0.2 sqrt(max(M, N)) and what a layer's output may move by does not grow with its
    width (Yang et al. 2023, arXiv 2310.17813), and Adam's of head and routers times base_width / width (muP, arXiv
    2203.03466, table 3). None takes the rates as they are. embedding_lr: Adam's rate for an untied embedding, of whose
    rows a step changes few; None is adam_lr.
    """

    muon_lr: float = 0.01
    adam_lr: float = 0.006
    embedding_lr: float | None = None
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-10
    weight_decay: float = 0.05
    muon_experts: bool = True
    base_width: int | None = None


@dataclass
class _Slot:
    """One parameter and what the optimizer keeps for it."""

    name: str
    parameter: nn.Parameter
    scale: float = 1.0
    decay: bool = False
    splits: tuple[int, ...] = ()
    axis: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def held(self) -> Tensor:
        """What this process has of the parameter."""
        return local(self.parameter.detach())


class MuonAdamW:
    """Muon on attention, feed-forward and expert matrices; AdamW on embedding, head, routers, norms, biases and sinks,
    the last three without decay.

    Matrices that hold several (Q, K and V; gate and up) are orthogonalised apart. Adam's rate for embedding and head
    is divided by their muP multiplier, so that a step changes the function as much as without one.
    """

    def __init__(self, model: Decoder, config: OptimConfig, exchange: Exchange | None = None) -> None:
        """exchange: for sharded parameters, what replaces updates by the same parts of whole matrices' steps."""
        self.config, self.exchange = config, exchange
        self.steps = 0
        relative = config.base_width / model.spec.width if config.base_width else 1.0
        self._muon_lr = config.muon_lr * relative**0.5
        shapes: dict[int, tuple[tuple[int, ...], int]] = {}
        experts: set[int] = set()
        for module in model.modules():
            if isinstance(module, GroupedQueryAttention):
                shapes[id(module.qkv.weight)] = (tuple(module.sizes), 0)
            elif isinstance(module, GatedMLP):
                shapes[id(module.gate_up.weight)] = ((module.down.in_features,) * 2, 0)
            elif isinstance(module, MixtureOfExperts):
                shapes[id(module.gate_up)] = ((module.moe.width,) * 2, 2)
                experts |= {id(module.gate_up), id(module.down)}
        self.muon: list[_Slot] = []
        self.adam: list[_Slot] = []
        for name, parameter in model.named_parameters():
            table = parameter.ndim >= 2 and not name.endswith("bias")  # biases of experts are stacked
            matrix = table and not name.startswith(("embedding", "head")) and "router" not in name
            if matrix and (config.muon_experts or id(parameter) not in experts):
                splits, axis = shapes.get(id(parameter), ((), 0))
                self.muon.append(_Slot(name, parameter, decay=True, splits=splits, axis=axis))
            else:
                reads = 1.0 if not table or name == "embedding.weight" else relative
                scale = reads * {"embedding.weight": 1 / model.spec.embedding_scale,
                                 "head.weight": 1 / model.spec.logit_scale}.get(name, 1.0)
                if name == "embedding.weight" and config.embedding_lr is not None and not model.spec.tied:
                    scale *= config.embedding_lr / config.adam_lr
                self.adam.append(_Slot(name, parameter, scale=scale, decay=table))
        for slot in self.muon:
            slot.state = {"momentum": torch.zeros_like(slot.held)}
        for slot in self.adam:
            slot.state = {"first": torch.zeros_like(slot.held), "second": torch.zeros_like(slot.held)}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the gradients at `rate` times the peak learning rates, and forget them."""
        self.steps += 1
        config = self.config
        self._muon_step(rate * self._muon_lr)
        live = [slot for slot in self.adam if slot.parameter.grad is not None and slot.held.numel()]
        # The native fused kernel: one pass over parameter, gradient and both moments.
        for decay in (False, True):
            for scale in sorted({slot.scale for slot in live if slot.decay is decay}):
                group = [slot for slot in live if slot.decay is decay and slot.scale == scale]
                gradients = [local(slot.parameter.grad) for slot in group if slot.parameter.grad is not None]
                torch._fused_adamw_(
                    [slot.held for slot in group], gradients,
                    [slot.state["first"] for slot in group], [slot.state["second"] for slot in group], [],
                    [torch.tensor(float(self.steps)) for _ in group], amsgrad=False,
                    lr=rate * config.adam_lr * scale, beta1=config.betas[0], beta2=config.betas[1],
                    weight_decay=config.weight_decay if decay else 0.0, eps=config.eps, maximize=False,
                )
        for slot in (*self.muon, *self.adam):
            slot.parameter.grad = None

    def _muon_step(self, lr: float) -> None:
        """One native call for all matrices, or PyTorch for all of one shape together: a pocket model has hundreds."""
        momentum, decay = self.config.momentum, 1 - lr * self.config.weight_decay
        live = [(slot, slot.parameter.grad) for slot in self.muon if slot.parameter.grad is not None]
        if self.exchange is not None:
            self._sharded_step(live, self.exchange, lr)
            return
        if live and all(native.takes(slot.parameter, gradient) for slot, gradient in live):
            views: list[tuple[Tensor, Tensor, Tensor]] = []
            for slot, gradient in live:
                same = (slot.parameter, gradient.contiguous(), slot.state["momentum"])
                views += zip(*(x.split(slot.splits, slot.axis) if slot.splits else (x,) for x in same), strict=True)
            native.muon(views, momentum, 0.2 * lr, decay)
            return
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for slot, gradient in live:
            parameter = slot.parameter
            slot.state["momentum"].lerp_(gradient, 1 - momentum)
            update = gradient.lerp_(slot.state["momentum"], momentum)  # Nesterov
            parameter.mul_(decay)
            parts = update.split(slot.splits, slot.axis) if slot.splits else (update,)
            targets = parameter.split(slot.splits, slot.axis) if slot.splits else (parameter,)
            for part, target in zip(parts, targets, strict=True):
                shape = (part.shape[-2], part.shape[-1])
                by_shape.setdefault(shape, []).append((part.reshape(-1, *shape), target.view(-1, *shape)
                                                       if target.is_contiguous() else target))
        for shape, pairs in by_shape.items():
            size = 0.2 * max(shape) ** 0.5
            orthogonal = orthogonalise(torch.cat([part for part, _ in pairs]))
            for (_, target), step in zip(pairs, orthogonal.split([len(part) for part, _ in pairs]), strict=True):
                target.add_(step.view(target.shape), alpha=-lr * size)

    def _sharded_step(self, live: list[tuple[_Slot, Tensor]], exchange: Exchange, lr: float) -> None:
        """Momentum and weights where they are; only updates travel."""
        momentum, updates = self.config.momentum, []
        for slot, gradient in live:
            held = local(gradient)
            slot.state["momentum"].lerp_(held, 1 - momentum)
            updates.append(Update(slot.name, held.lerp_(slot.state["momentum"], momentum), slot.splits, slot.axis))
        exchange(updates)
        for (slot, _), update in zip(live, updates, strict=True):
            slot.held.mul_(1 - lr * self.config.weight_decay).add_(update.held, alpha=-lr)

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything but the step count, by name: the tensors themselves, to be stored or written over."""
        return {f"{key}.{slot.name}": tensor for slot in (*self.muon, *self.adam) for key, tensor in slot.state.items()}
