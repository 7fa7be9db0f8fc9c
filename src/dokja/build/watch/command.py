"""`dokja build watch`, `card` and `curves`: looking at runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ...errors import DokjaError

Runs = Annotated[list[Path], typer.Argument(help="Folders of runs.")]


def watch(runs: Runs, host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
          port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8400) -> None:
    """Serve a page of live curves, samples and events of one or several runs.

    Example: `dokja build watch run other-run --port 8400`
    """
    from .server import make_server

    server = make_server(runs, host, port)
    for run in runs:
        if not (run / "run.json").exists():
            print(f"{run} holds no run yet: the page fills when one begins there", flush=True)
    print(f"http://{host}:{server.server_address[1]}/ shows {', '.join(map(str, runs))}; Ctrl-C ends it", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


def card(run: Annotated[Path, typer.Argument(help="Folder of a run.")],
         lang: Annotated[Literal["en", "ko"], typer.Option(help="Language.")] = "en") -> None:
    """Print the card of a run's model, written from the run's own records.

    Example: `dokja build card run --lang ko > README.ko.md`
    """
    from .card import model_card

    print(model_card(run, lang), end="")


def curves(runs: Runs, out: Annotated[Path, typer.Option(help="The SVG file to write.")] = Path("curves.svg"),
           what: Annotated[str, typer.Option(help="A number of metrics.jsonl, as loss, heldout or tokens_per_second.")
                           ] = "loss") -> None:
    """Draw one number of one or several runs over their steps.

    Example: `dokja build curves run other-run --what heldout --out heldout.svg`
    """
    from .curves import Line, chart, names, series
    from .sinks import read_metrics
    from .words import PAGE

    found = {run: read_metrics(run) for run in runs}
    title = PAGE["en"].get("heldout_title" if what == "heldout" else what, what)
    lines = [Line(run.name, series(records, what), place) for place, (run, records) in enumerate(found.items())]
    drawn = chart(title, lines, width=880, height=360, noisy=what not in ("rate", "heldout"), alone=True,
                  x_title=PAGE["en"]["step_title"])
    if not drawn:
        known = ", ".join(names(next(iter(found.values()))))
        raise DokjaError(f"no run has two values of {what!r}: choose from {known}")
    out.write_text(drawn + "\n", encoding="utf-8")
    print(out)
