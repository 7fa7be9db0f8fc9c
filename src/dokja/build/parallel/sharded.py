"""One process among those of a run: the model cut, sharded and made to exchange what it must, from outside.

Order of sums: a gradient is summed over the tokens of a rank, then over the ranks that share rows (reduce-scatter, then
all-reduce over copies), then over tensor ranks; experts' gradients first over all tokens that were sent to them. Losses
are summed in float64. One process adds the same numbers in another order, so runs agree to rounding, not to the bit;
runs of the same layout on the same machines do agree to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from ...errors import DokjaError
from ...models.attention import GroupedQueryAttention, MultiHeadLatentAttention
from ...models.decoder import Block, Decoder
from ...models.ffn import GatedMLP, MixtureOfExperts, PlainMLP
from ..layout import Axis, Box, Cut, Layout, Place
from ..optim import Update, local
from .config import ParallelConfig, check
from .orthogonal import Peers, exchange
from .regions import balance_over, divide_experts, divide_rows, region

_DIMS = ("replicate", "shard", "expert", "tensor")


class Sharded:
    """`trainer.Parallel` for the processes that torchrun started.

    rank, world: along the data dimension. index, count: among all processes. device: this process's own.
    gather_dtype: of parameters while they are gathered for a layer, their own without it; gradients are then summed in
    float32.
    """

    def __init__(self, config: ParallelConfig, device: torch.device, gather_dtype: torch.dtype | None) -> None:
        self.config, self.gather_dtype = config, gather_dtype
        self.device: torch.device | None = device
        self.index, self.count = dist.get_rank(), dist.get_world_size()
        sizes = tuple(getattr(config, name) for name in _DIMS)
        own = (config.replicate, config.shard * config.expert, config.tensor)
        # One order of ranks, seen as several grids: the last dimension is the nearest (one node).
        self.grid = init_device_mesh(device.type, sizes, mesh_dim_names=_DIMS)
        self.dense = init_device_mesh(device.type, own, mesh_dim_names=("replicate", "rows", "tensor"))
        self._data = init_device_mesh(device.type, (config.data, config.tensor), mesh_dim_names=("data", "tensor"))
        self._holders = init_device_mesh(device.type, (own[0], own[1] * own[2]), mesh_dim_names=("replicate", "holder"))
        self.place = dict(zip(_DIMS, self.grid.get_coordinate() or (), strict=True))
        self.rank, self.world = self._data.get_local_rank("data"), config.data
        self.axes: dict[Axis, Place] = {"tensor": (self.place["tensor"], config.tensor),
                                        "expert": (self.place["expert"], config.expert)}
        self.layouts: dict[str, Layout] = {}
        self._names: dict[int, str] = {}
        self._summed: set[str] = set()  # held whole by tensor ranks, each with a part of the gradient

    # --- the model -------------------------------------------------------------------------------------------------

    def apply(self, model: Decoder) -> None:
        """Cut, connect and shard a model in place; DokjaError when it does not divide."""
        check(model.spec, self.config)
        self._cut(model)
        self._connect(model)
        if self.config.data > 1:
            self._shard(model)
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}

    def _cut(self, model: Decoder) -> None:
        cuts = {name: tuple(cut for cut in its if self.axes[cut.axis][1] > 1) for name, its in _cuts(model).items()}
        for name, parameter in list(model.named_parameters()):
            layout = Layout(tuple(parameter.shape), cuts.get(name, ()))
            if layout.cuts:
                owner, _, attribute = name.rpartition(".")
                held = nn.Parameter(layout.cut(parameter.data, self.axes), parameter.requires_grad)
                setattr(model.get_submodule(owner), attribute, held)
            of_experts = any(cut.axis == "expert" for cut in layout.cuts)
            sharing = self.config.replicate * self.config.shard if of_experts else self.config.data
            rows = None if sharing == 1 else "expert" if of_experts else "dense"
            self.layouts[name] = replace(layout, rows=rows)  # type: ignore[arg-type]
            if not any(cut.axis == "tensor" for cut in layout.cuts) and (
                    ".mixer." in name or ".ffn." in name or name.startswith(("head", "embedding"))):
                self._summed.add(name)
        if self.config.tensor > 1:
            for module in model.modules():
                _shrink(module, self.config.tensor)

    def _connect(self, model: Decoder) -> None:
        data = self._data.get_group("data") if self.config.data > 1 else None
        tensor = self.grid.get_group("tensor") if self.config.tensor > 1 else None
        for mixture in (module for module in model.modules() if isinstance(module, MixtureOfExperts)):
            balance_over(mixture, data, tensor)
            if self.config.expert > 1:
                divide_experts(mixture, self.grid.get_group("expert"))
        if tensor is not None:
            for block in (module for module in model.modules() if isinstance(module, Block)):
                for layer in (block.mixer, block.ffn):
                    layer.forward = region(layer.forward, tensor)  # type: ignore[method-assign,assignment]
            divide_rows(model, tensor)

    def _shard(self, model: Decoder) -> None:
        """FSDP2: every block and MTP layer a unit, the rest one; experts over the ranks that hold the same ones."""
        config = self.config
        options: dict[str, Any] = {"mesh": self._mesh(self.dense, "rows"), "mp_policy": MixedPrecisionPolicy(
            param_dtype=self.gather_dtype, reduce_dtype=None if self.gather_dtype is None else torch.float32,
            cast_forward_inputs=False)}
        experts = {parameter for name, parameter in model.named_parameters()
                   if any(cut.axis == "expert" for cut in self.layouts[name].cuts)}
        if experts and config.replicate * config.shard == 1:
            options["ignored_params"] = experts  # each is in one place, and its gradient is complete there
        elif experts:
            # Not public yet: a mesh for each parameter (torch 2.13).
            from torch.distributed.fsdp._fully_shard import _fsdp_common as fsdp

            mesh = self._mesh(self.grid, "shard")
            info = fsdp.FSDPMeshInfo(mesh, 0) if mesh.ndim == 1 else fsdp.HSDPMeshInfo(mesh, 1, 0)
            options["shard_placement_fn"] = lambda parameter: (
                fsdp.ShardPlacementResult(None, info) if parameter in experts else None)
        for unit in (*model.layers, *model.mtp, model):
            fully_shard(unit, **options)
            assert isinstance(unit, FSDPModule)
            unit.set_gradient_divide_factor(1.0)  # sums: each rank's loss is its share of the batch's
            unit.set_force_sum_reduction_for_comms(True)
        _gather_for(model)

    def _mesh(self, grid: DeviceMesh, rows: str) -> DeviceMesh:
        return grid[rows] if self.config.replicate == 1 else grid["replicate", rows]

    # --- sums ------------------------------------------------------------------------------------------------------

    def sum(self, values: Tensor) -> Tensor:
        """Over the data dimension."""
        if self.config.data == 1:
            return values
        values = values.to(self.device, copy=True)
        dist.all_reduce(values, group=self._data.get_group("data"))
        return values

    def any(self, value: bool) -> bool:
        """Whether it is true on any process; all must ask."""
        flag = torch.tensor(int(value), device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag)

    def clip(self, parameters: Iterable[nn.Parameter], most: float) -> Tensor:
        """Complete the gradients over tensor ranks, then scale them as torch's `clip_grad_norm_` does."""
        named = [(self._names[id(parameter)], local(parameter.grad)) for parameter in parameters
                 if parameter.grad is not None]
        if self.config.tensor > 1:
            whole = [(name, grad) for name, grad in named if name in self._summed]
            # The others are computed alike on all ranks; their mean keeps them so where kernels are not deterministic.
            alike = [(name, grad) for name, grad in named if name not in self._summed
                     and not any(cut.axis == "tensor" for cut in self.layouts[name].cuts)]
            for some, factor in ((whole, 1.0), (alike, 1 / self.config.tensor)):
                self._sum_over_tensor([grad for _, grad in some], factor)
        square: Tensor = torch.zeros((), dtype=torch.float64, device=self.device)
        for name, grad in named:
            if grad.numel():
                square = square + grad.norm().double().square() / self._copies(self.layouts[name])
        dist.all_reduce(square)
        norm = square.sqrt()
        coefficient = (most / (norm + 1e-6)).clamp(max=1.0)
        for _, grad in named:
            grad.mul_(coefficient.to(grad.dtype))
        return norm

    def _sum_over_tensor(self, gradients: list[Tensor], factor: float) -> None:
        if gradients:
            flat = torch.cat([grad.flatten() for grad in gradients])
            dist.all_reduce(flat, group=self.grid.get_group("tensor"))
            for grad, total in zip(gradients, flat.split([grad.numel() for grad in gradients]), strict=True):
                grad.copy_(total.view_as(grad) if factor == 1.0 else total.view_as(grad) * factor)

    def exchange(self, updates: list[Update]) -> None:
        """Muon's steps of whole matrices; see `orthogonal.exchange`."""
        by_peers: dict[str, list[tuple[Update, list[list[Box]]]]] = {}
        for update in updates:
            layout = self.layouts[update.name]
            cut = [one for one in layout.cuts if one.axis == "tensor"]
            for one in cut:
                if one.dim % len(layout.shape) == update.axis and len(one.parts) > 1:
                    update.splits = one.parts
            dense = layout.rows != "expert" and not any(one.axis == "expert" for one in layout.cuts)
            # Rows of stacked experts are whole matrices: only tensor ranks share one.
            kind = ("holder" if cut else "rows") if dense and layout.rows else "tensor" if cut else "none"
            by_peers.setdefault(kind, []).append((update, [layout.boxes(axes, rows) for axes, rows in
                                                           self._members(kind, layout)]))
        grids = {"holder": self._holders, "rows": self.dense, "tensor": self.grid}
        for kind in sorted(by_peers):
            exchange([Peers(update, boxes) for update, boxes in by_peers[kind]],
                     grids[kind].get_group(kind) if kind in grids else None)

    def _members(self, kind: str, layout: Layout) -> list[tuple[dict[Axis, Place], Place]]:
        """Places of the processes that share a matrix, in the order of their group."""
        config, mine = self.config, self._rows(layout)
        tensors: list[dict[Axis, Place]] = [{**self.axes, "tensor": (i, config.tensor)} for i in range(config.tensor)]
        if kind == "none":
            return [(self.axes, mine)]
        if kind == "tensor":
            return [(axes, mine) for axes in tensors]
        rows = config.shard * config.expert
        if kind == "rows":
            return [(self.axes, (i, rows)) for i in range(rows)]
        return [(axes, (i, rows)) for i in range(rows) for axes in tensors]

    # --- what is held ----------------------------------------------------------------------------------------------

    def _rows(self, layout: Layout) -> Place:
        shard, expert = self.place["shard"], self.place["expert"]
        if layout.rows == "expert":
            return shard, self.config.shard
        return shard * self.config.expert + expert, self.config.shard * self.config.expert

    def _divided(self, layout: Layout) -> set[str]:
        """The dimensions of the grid along which processes hold different parts."""
        rows = {"dense": {"shard", "expert"}, "expert": {"shard"}, None: set()}[layout.rows]
        return rows | {cut.axis for cut in layout.cuts}

    def _copies(self, layout: Layout) -> int:
        out = 1
        for name in set(_DIMS) - self._divided(layout):
            out *= getattr(self.config, name)
        return out

    def held(self, name: str, tensor: Tensor) -> tuple[tuple[int, ...], list[Box], bool]:
        """Of a tensor of `Trainer.tensors()`: the whole one's shape, the boxes of it that are here, and whether it is
        for this process to save them."""
        of = name.split(".", 2)[2] if name.startswith("optimizer.") else name.removeprefix("model.")
        layout = self.layouts.get(of, Layout(tuple(tensor.shape)))
        first = all(self.place[dim] == 0 for dim in set(_DIMS) - self._divided(layout))
        return layout.shape, layout.boxes(self.axes, self._rows(layout)), first

    def whole(self, name: str, tensor: Tensor) -> Tensor:
        """The whole of a tensor of `Trainer.tensors()`, on every process; all must ask."""
        shape, boxes, first = self.held(name, tensor)
        out = tensor.new_zeros(shape)
        for box in boxes if first else ():
            box.within(out).copy_(box.of(tensor))
        dist.all_reduce(out)
        return out

    def close(self) -> None:
        """Leave the group, after all have come here."""
        dist.barrier()  # type: ignore[no-untyped-call]
        dist.destroy_process_group()


def start(config: ParallelConfig, *, precision: str = "fp32", timeout: float = 1800) -> Sharded:
    """Join the processes that torchrun started: gloo on CPU, NCCL where there is a GPU for each process of a node.

    timeout: seconds after which a process that waits for another gives up. Raises DokjaError when torchrun started
    another number than `config` says.
    """
    from datetime import timedelta

    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != config.world:
        sizes = " x ".join(f"{name} {getattr(config, name)}" for name in _DIMS)
        raise DokjaError(f"{sizes} are {config.world} processes, but {world} are running: start them with torchrun "
                         f"--nproc-per-node so that the product is met, or set parallel.shard")
    gpu = torch.cuda.is_available() and torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        backend, patience = "cpu:gloo,cuda:nccl" if gpu else "gloo", timedelta(seconds=timeout)
        if os.environ.get("GROUP_WORLD_SIZE") == "1" and "TORCHELASTIC_RESTART_COUNT" in os.environ:
            # torchrun keeps one store over restarts, in which the addresses of killed processes still stand. (Nodes
            # need not agree on the count: for several, TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 gives each start a store.)
            store, rank, world = next(rendezvous("env://", timeout=patience))
            own = PrefixStore(f"start-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
            dist.init_process_group(backend, store=own, rank=rank, world_size=world, timeout=patience)
        else:
            dist.init_process_group(backend, timeout=patience)
    return Sharded(config, device, None if precision == "fp32" else torch.bfloat16)


def _cuts(model: Decoder) -> dict[str, tuple[Cut, ...]]:
    """How each parameter is divided, by name; those that are not named are held whole.

    What makes heads or hidden columns is cut by them, what reads them by its input; queries, keys and values, and gate
    and up, each for itself.
    """
    out: dict[str, tuple[Cut, ...]] = {}

    def cut(name: str, *cuts: Cut) -> None:
        out[name] = cuts

    for name, module in model.named_modules():
        if isinstance(module, GroupedQueryAttention):
            sizes = tuple(module.sizes)
            cut(f"{name}.qkv.weight", Cut(0, "tensor", sizes))
            cut(f"{name}.qkv.bias", Cut(0, "tensor", sizes))
            cut(f"{name}.out.weight", Cut(1, "tensor", sizes[:1]))
            cut(f"{name}.sinks", Cut(0, "tensor", (module.mixer.heads,)))
        elif isinstance(module, MultiHeadLatentAttention):
            query = "q" if module.mixer.q_rank is None else "q_up"
            for part in (query, "kv_up"):
                cut(f"{name}.{part}.weight", Cut(0, "tensor", (getattr(module, part).out_features,)))
            cut(f"{name}.out.weight", Cut(1, "tensor", (module.out.in_features,)))
        elif isinstance(module, GatedMLP | PlainMLP):
            hidden = module.down.in_features
            first, parts = ("gate_up", (hidden, hidden)) if isinstance(module, GatedMLP) else ("up", (hidden,))
            cut(f"{name}.{first}.weight", Cut(0, "tensor", parts))
            cut(f"{name}.down.weight", Cut(1, "tensor", (hidden,)))
        elif isinstance(module, MixtureOfExperts):
            experts, width = Cut(0, "expert", (module.moe.experts,)), module.moe.width
            cut(f"{name}.gate_up", experts, Cut(2, "tensor", (width, width)))
            cut(f"{name}.down", experts, Cut(1, "tensor", (width,)))
            cut(f"{name}.gate_up_bias", experts)
            cut(f"{name}.down_bias", experts)
    return out


def _shrink(module: nn.Module, ranks: int) -> None:
    """Tell a module whose weights were cut how many heads or columns it has now."""
    if isinstance(module, GroupedQueryAttention):
        module.mixer = replace(module.mixer, heads=module.mixer.heads // ranks,
                               kv_heads=module.mixer.kv_heads // ranks)
        module.sizes = [size // ranks for size in module.sizes]
    elif isinstance(module, MultiHeadLatentAttention):
        module.mixer = replace(module.mixer, heads=module.mixer.heads // ranks)
    elif isinstance(module, GatedMLP | PlainMLP):
        first = module.gate_up if isinstance(module, GatedMLP) else module.up
        first.out_features //= ranks
        module.down.in_features //= ranks
    elif isinstance(module, MixtureOfExperts):
        module.moe = replace(module.moe, width=module.moe.width // ranks)


def _gather_for(model: Decoder) -> None:
    """Let the model's methods find the root's parameters gathered.

    `losses` and `hidden` are forward passes as `forward` is, the outermost of them. What is made of hidden states
    outside of them (the final norm, `read`) belongs to the backward pass of `hidden`: a pass of its own would send the
    root's gradients off, and free its parameters, before the norm's turn.
    """
    inside = False

    def guarded(outer: Any, inner: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:
                return inner(*args, **kwargs)
            inside = True
            try:
                return outer(*args, **kwargs)
            finally:
                inside = False

        return call

    def gathered(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not inside:
                model.unshard()  # type: ignore[operator]
            return method(*args, **kwargs)

        return call

    model.forward = guarded(model.forward, model.forward)  # type: ignore[method-assign]
    for name in ("losses", "hidden"):
        raw = getattr(model, name)
        register_fsdp_forward_method(model, name)  # type: ignore[no-untyped-call]
        setattr(model, name, guarded(getattr(model, name), raw))
    for name in ("logits", "read", "embed"):
        setattr(model, name, gathered(getattr(model, name)))
