"""`dokja build plan`: what a training run takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import DokjaError

if TYPE_CHECKING:
    from ...models.spec import ModelSpec
    from .estimate import Plan


def plan(
    name: Annotated[str | None, typer.Argument(help="A model of `dokja models list`, a family, or a folder with "
                                                    "spec.json.")] = None,
    gpus: Annotated[str, typer.Option(help="How many of which, as 512xH100.")] = "8xH100",
    tokens: Annotated[str, typer.Option(help="How many tokens, as 10T.")] = "1T",
    context: Annotated[int, typer.Option(min=1, help="Tokens a sequence.")] = 4096,
    pue: Annotated[float, typer.Option(min=1.0, help="Power of the site over that of its machines.")] = 1.2,
    check: Annotated[bool, typer.Option("--check", help="Print published runs and what the others predict.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Say what training takes before anyone pays: layout, memory for each GPU, tokens a second, days, energy.

    Example: `dokja build plan solar-open --gpus 480xB200 --tokens 19.7T`

    Example: `dokja build plan --check`
    """
    from . import estimate
    from .hardware import amount, cluster

    if check:
        return _checks(as_json)
    if name is None:
        raise DokjaError("a plan is of a model: give a name of `dokja models list`, as in dokja build plan solar-open")
    count, gpu = cluster(gpus)
    made = estimate.plan(_spec(name), count, gpu, context=context, tokens=amount(tokens), pue=pue)
    if as_json:
        print(json.dumps(made.to_dict(), ensure_ascii=False))
    else:
        print("\n".join(_lines(made)))


def _spec(name: str) -> ModelSpec:
    from ...models.families import release
    from ...models.spec import ModelSpec

    path = Path(name)
    path = path / "spec.json" if path.is_dir() else path
    if not path.is_file():
        return release(name)[1].spec
    try:
        return ModelSpec.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DokjaError(f"{path} holds no spec ({error}): give a folder that Dokja wrote, or a model's name") from None


def _lines(made: Plan) -> list[str]:
    from dataclasses import asdict

    from ...models.cost import parameters
    from .estimate import DRAW, HEADROOM, LIMIT

    counted, layout, held = parameters(made.spec), made.layout, asdict(made.memory)
    sizes = ", ".join(f"{name} {size}" for name, size in asdict(layout).items() if size > 1) or "one GPU"
    room = made.gpu.memory * (1 - HEADROOM)

    def ranged(values: tuple[float, ...]) -> str:
        low, middle, high = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values)
        return f"{middle} ({low} to {high})"

    flags = " ".join(f"--set parallel.{name}={size}" for name, size in asdict(layout).items() if size > 1)
    out = [
        f"{made.spec.name} on {made.gpus} {made.gpu.name}, {made.tokens:.3g} tokens of {made.context:,} a sequence",
        f"parameters      {counted.total / 1e9:,.2f} B, {counted.active / 1e9:,.2f} B active for a token",
        f"layout          {sizes}; {made.sequences} sequences at a time; "
        f"{'layers are computed again in the backward pass' if made.recompute else 'no recomputation'}",
        f"memory a GPU    {made.memory.total / 2**30:,.1f} GiB of {room / 2**30:,.1f} "
        f"({made.gpu.memory / 2**30:,.1f} less {HEADROOM:.0%})" + ("" if made.fits else ": DOES NOT FIT"),
        *(f"  {name:<13} {size / 2**30:,.1f} GiB" for name, size in held.items()),
        f"FLOPs a token   {made.flops_per_token:.3g}; the run {made.flops:.3g}, {made.flops / LIMIT:.1%} of "
        f"{LIMIT:.0e}",
        f"utilisation     {made.utilisation[1]:.0%} ({made.utilisation[0]:.0%} to {made.utilisation[2]:.0%}, published "
        "runs of the kind: dokja build plan --check)",
        f"tokens a second {ranged(made.speed)}; {ranged(tuple(one / made.gpus for one in made.speed))} a GPU",
        f"days            {ranged(tuple(sorted(made.days)))}",
        f"energy          {ranged(tuple(sorted(made.energy)))} MWh: GPUs at {DRAW:.0%} of {made.gpu.watts} W, PUE "
        f"{made.pue}; whole nodes at their most: {ranged(tuple(sorted(made.most_energy)))} MWh",
    ]
    return [*out, f"flags           {flags}" + (" --set train.recompute=true" if made.recompute else "")]


def _checks(as_json: bool) -> None:
    from .published import checks

    rows = [{"run": one.run.name, "gpus": f"{one.run.gpus}x{one.run.gpu}", "kind": one.run.kind,
             "published": one.run.speed, "predicted": one.predicted, "error": one.error,
             "utilisation": one.run.utilisation, "source": one.run.source} for one in checks()]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    print(f"{'run':<20} {'GPUs':>9} {'tokens/s/GPU':>13} {'predicted':>10} {'error':>7} {'utilisation':>12}  source")
    for row in rows:
        print(f"{row['run']:<20} {row['gpus']:>9} {row['published']:>13,.0f} {row['predicted']:>10,.0f} "
              f"{row['error']:>+7.0%} {row['utilisation']:>12.1%}  {row['source']}")
