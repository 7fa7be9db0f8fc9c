"""Runs of several processes: each runs this file, which trains the cases it is given and writes what they did."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()


def launch(processes: int, folder: Path, cases: list[dict[str, Any]], *, timeout: float = 300,
           restarts: int | None = None) -> None:
    """Run the cases one after another on so many processes; the results are in `folder` by their names.

    restarts: have torchrun start the processes, so often again; without it they are forks of one that has imported all,
    with what torchrun would put into their environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, str(HERE), str(folder), str(processes)]
    if restarts is not None:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--max-restarts",
                   str(restarts), "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(HERE), str(folder)]
    where = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1]), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=where, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


def fork(processes: int) -> None:
    """Go on as each of so many processes; the one that was there waits for them and ends."""

    import dokja.build.parallel.sharded
    import dokja.build.train.shards
    import dokja.build.train.trainer  # noqa: F401

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        if not (child := os.fork()):
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
                           "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
            return
        children.append(child)
    failed = False
    while children:
        child, status = os.wait()
        children.remove(child)
        if status and not failed:
            failed = True
            for other in children:
                os.kill(other, signal.SIGKILL)
    sys.exit(int(failed))


def result(folder: Path, name: str) -> dict[str, Any]:
    """What a case wrote."""
    return json.loads((folder / f"{name}.json").read_text())


def with_heads(spec: Any) -> Any:
    """The same spec with 4 heads of queries, keys and values, and experts of 16, which 2 and 4 processes can divide."""
    from dokja.models.spec import Attention, MoE

    def four(layer: Any) -> Any:
        mixer = layer.mixer
        more = {"heads": 4, "kv_heads": 4} if isinstance(mixer, Attention) else {"heads": 4}
        ffn = replace(layer.ffn, width=16) if isinstance(layer.ffn, MoE) else layer.ffn
        return replace(layer, mixer=replace(mixer, **more), ffn=ffn)

    return replace(spec, layers=tuple(map(four, spec.layers)), mtp=tuple(map(four, spec.mtp)))


class DoubleWeights:
    """The tiny data, whose tokens' weights are in float64."""

    def batch(self, seed: int, start: int, size: int) -> Any:
        from tiny_teams import tiny_data

        ids, targets, weights = tiny_data().batch(seed, start, size)
        return ids, targets, weights.double()


def by_expert(x_ND: Any, weight_EDF: Any, counts: Any) -> Any:
    """`ops.grouped_linear` in float64, which the library's product of groups lacks."""
    import torch

    return torch.cat([rows @ weight for rows, weight in zip(x_ND.split(torch.as_tensor(counts).tolist()), weight_EDF,
                                                                      strict=True)])


def exact_loss(hidden_NC: Any, weight_VC: Any, target_N: Any, share_N: Any = None, *, scale: float = 1.0,
               bias_V: Any = None, z_weight: float = 0.0) -> Any:
    """`ops.linear_cross_entropy` in float64."""
    from torch.nn import functional as F

    logits = F.linear(hidden_NC, weight_VC, bias_V) * scale
    losses = F.cross_entropy(logits, target_N, ignore_index=-100, reduction="none")
    return (losses if share_N is None else losses * share_N).sum()


def in_steps(model: Any, part: Any) -> Any:
    """The loss of an objective that calls the model piece by piece, as preferences and distillation do."""
    from torch.nn import functional as F

    rows = part.rows
    logits = model.read(model.norm(model.hidden(rows["ids"])))
    losses = F.cross_entropy(logits.flatten(0, 1), rows["targets"].flatten(), ignore_index=-100, reduction="none")
    loss = (losses * rows["weights"].flatten()).sum() / part.total
    return loss, {"loss": loss.detach()}


def train(case: dict[str, Any], folder: Path) -> None:
    """One case: name, family, parallel (sizes), until; all else as `tiny_teams.trainer` takes it."""
    import torch
    from tiny_teams import tiny_data, tiny_spec

    from dokja.build.optim import OptimConfig
    from dokja.build.parallel import ParallelConfig, make_parallel
    from dokja.build.schedule import Schedule
    from dokja.build.train import Checkpoints, NextToken, NextTokenConfig, TrainConfig, Trainer
    from dokja.models import ops
    from dokja.models.decoder import Decoder
    from dokja.models.init import initialise

    parallel = make_parallel(ParallelConfig(**case.get("parallel", {})))
    spec = with_heads(tiny_spec(case["family"]))
    config = TrainConfig(seed=3, optim=OptimConfig(**case.get("optim", {})), **case.get("config", {}))
    model, source = Decoder(spec), tiny_data()
    initialise(model, 3)
    if case.get("double"):  # no kernels, and hardly any rounding that could turn a router's choice
        model.double()
        source = DoubleWeights()
        ops.grouped_linear, ops.linear_cross_entropy = by_expert, exact_loss
    objective = NextToken(source, NextTokenConfig(batch=8, **case.get("loss", {})), 3)
    if case.get("apart"):
        objective.loss = in_steps  # type: ignore[method-assign]
    run = Trainer(spec, objective, config,
                  Schedule(ends=(6, 16), warmup=3), parallel=parallel, model=model)
    store = Checkpoints(folder / case["store"], parallel=parallel, keep=9) if "store" in case else None
    if store is not None:
        store.restore(run)
    began, curve, norms = run.step_index, [], []
    while run.step_index < case.get("until", 12):
        marker = folder / "killed"
        if case.get("kill") == run.step_index and parallel.index == parallel.count - 1 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
        step = run.step()
        curve.append(step.loss)
        norms.append(step.gradient_norm)
        if store is not None and step.step % case.get("every", 4) == 0:
            store.save(run)
        if case.get("look"):
            with torch.no_grad():
                run.model.losses(torch.zeros(1, 8, dtype=torch.long), torch.ones(1, 8, dtype=torch.long))
    if store is not None:
        store.wait()
    if "damage" in case and parallel.index == 0:
        newest = folder / case["store"] / f"step-{run.step_index:08d}"
        shard = sorted(newest.glob(case["damage"]))[0]
        content = bytearray(shard.read_bytes())
        content[-5] ^= 1
        shard.write_bytes(content)
        shutil.copytree(newest, folder / f"{case['name']}-damaged")
    whole = {name: parallel.whole(name, tensor) for name, tensor in run.tensors().items()}
    if parallel.index == 0:
        held = sum(tensor.numel() for tensor in run.tensors().values())
        torch.save(whole, folder / f"{case['name']}.pt")
        (folder / f"{case['name']}.json").write_text(json.dumps(
            {"began": began, "losses": curve, "norms": norms, "held": held,
             "all": sum(tensor.numel() for tensor in whole.values())}))


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        fork(int(sys.argv[2]))
    for case in json.loads((folder / "cases.json").read_text()):
        train(case, folder)
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
