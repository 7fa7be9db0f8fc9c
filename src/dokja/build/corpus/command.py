"""`dokja build corpus`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def corpus(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the corpus; a run that was interrupted there goes on.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE",
                                                       help="Change one value, as heldout=0.01; repeatable.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each processor.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: the cluster of RAY_ADDRESS.")] = "local",
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again, and replace a finished corpus.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest instead of a table.")] = False,
) -> None:
    """Make a corpus: clean, identify, filter, deduplicate, redact, decontaminate, tokenise, shard.

    Example: `dokja build corpus recipe.yaml --out corpus --set tokenizer=tokenizer.json`
    """
    from .recipe import read_recipe

    resolved = read_recipe(recipe, settings or [])
    if dry_run:
        print(json.dumps(resolved.to_dict(), ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from .pipeline import build
    from .report import table

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        shown: dict[str, TaskID] = {}

        def show(phase: str, done: int, whole: int) -> None:
            if phase not in shown:
                shown[phase] = bar.add_task(phase)
            bar.update(shown[phase], completed=done, total=whole)

        try:
            made = build(resolved, out, workers=workers or os.cpu_count() or 1, engine_name=engine, fresh=fresh,
                         progress=show)
        except KeyboardInterrupt:
            print(f"interrupted: the same command goes on from what is done in {out}", file=sys.stderr)
            raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(made.manifest, ensure_ascii=False, indent=1))
    else:
        print(table(made.manifest["sources"]))
        print(f"\n{out}: done, hash {made.manifest['hash'][:16]}; report.md there shows what each step dropped")
