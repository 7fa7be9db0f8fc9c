"""The command line: one verb a room. Rooms are imported inside the commands, so that `--help` is instant."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import __version__
from .build.command import app as build_app
from .build.train import command as train_command
from .errors import DokjaError
from .models.report.command import app as models_app

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown",
                  pretty_exceptions_enable=False,
                  help="Build a foundation model from scratch, judge it against its rivals, serve the winner.\n\n"
                       "Example: `dokja season play --minutes 20`")
season_app = typer.Typer(no_args_is_help=True, help="Play a whole season: five architectures, one budget, one winner."
                                                    "\n\nExample: `dokja season play`")
judge_app = typer.Typer(no_args_is_help=True, help="Measure a trained model.\n\n"
                                                   "Example: `dokja judge text MODEL --text news.txt`")
app.add_typer(season_app, name="season")
app.add_typer(build_app, name="build")
app.add_typer(judge_app, name="judge")
app.add_typer(models_app, name="models")


def _engine_sampler() -> Any:
    from .serve.rollout import EngineSampler

    return EngineSampler()


train_command.new_sampler = _engine_sampler
_USAGE: Any = typer.BadParameter.__bases__[0]  # click's UsageError, whichever copy of click this typer has

# What a path that the user gave may be unfit by.
_OF_PATHS = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}

HOME = Path("seasons/pocket")
Home = Annotated[Path, typer.Option("--home", help="Folder that holds the season.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run the command line: what is wrong is one sentence on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that has no Hangul gets escapes, not a traceback
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not standalone, so that errors of options come here instead of being drawn in a box.
        sys.exit(app(prog_name="dokja", standalone_mode=False) or 0)
    except _USAGE as error:
        if said := " ".join(error.format_message().split()):  # nothing where a verb alone has printed its help
            verb = getattr(error.ctx, "command_path", "dokja")
            print(f"dokja: {said[0].lower()}{said[1:].rstrip('.')} (see {verb} --help)", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    except DokjaError as error:
        print(f"dokja: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            said = (f"no space left on the disk{f' of {error.filename}' if error.filename else ''}: free some and run "
                    "the same command again")
        elif error.errno in _OF_PATHS and error.filename:
            said = f"{error.filename} cannot be used ({error.strerror}): give another path"
        else:  # a defect of ours
            raise
        print(f"dokja: {said}", file=sys.stderr)
        sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"dokja {__version__}")
        raise typer.Exit


@app.callback()
def _options(version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version,
                                                   help="Print the version.")] = False) -> None:
    pass


@season_app.command("play")
def season_play(
    minutes: Annotated[float | None, typer.Option(help="About how long the season may take on this machine (8.5 when "
                                                       "neither this nor --flops is given). More minutes, larger "
                                                       "models, better text.")] = None,
    flops: Annotated[float | None, typer.Option(help="Exact training FLOPs of a finalist instead of minutes; equal "
                                                     "seasons anywhere.")] = None,
    text: Annotated[list[Path] | None, typer.Option(help="A file or folder of your own text (.txt, .jsonl plain or "
                                                         ".gz/.xz/.zst, .parquet) instead of the built-in one; "
                                                         "repeatable.")] = None,
    teams: Annotated[str | None, typer.Option(help="Comma-separated teams instead of all five.")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed that every random choice derives from; 1 if not "
                                                  "given.")] = None,
    workers: Annotated[int | None, typer.Option(help="Teams that train at once; one a core by default.")] = None,
    rules: Annotated[Path | None, typer.Option(help="A rules file instead of the pocket season's.")] = None,
    home: Home = HOME,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the season in --home and begin again.")] = False,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the winner when the season ends.")] = True,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8300,
) -> None:
    """Play a season, or go on with the one in --home; then serve the winner.

    Ctrl-C, a kill or a power cut loses nothing that matters: the same command goes on from the last checkpoint and
    ends with the same numbers.

    Example: `dokja season play --minutes 60 --text my-texts/`
    """
    from .season.command import Wish, play_season

    if serve:
        _require_free(host, port, ", or play with --no-serve")
    wish = Wish(minutes=minutes, flops=flops, texts=tuple(str(path) for path in text or ()), seed=seed,
                teams=tuple(teams.split(",")) if teams else None, workers=workers, rules=rules)
    play_season(home, wish, fresh=fresh, console=Console())
    if serve:
        _serve_season(home, host, port)


@season_app.command("status")
def season_status(home: Home = HOME, as_json: AsJson = False) -> None:
    """Where a season stands: stages, tables, teams.

    Example: `dokja season status --json`
    """
    from .season.command import print_status, read_summary

    summary = read_summary(home)
    print(json.dumps(summary, ensure_ascii=False)) if as_json else print_status(summary, Console())


@season_app.command("report")
def season_report(home: Home = HOME,
                  out: Annotated[Path | None, typer.Option(help="Where to write it; report.html in --home.")] = None,
                  ) -> None:
    """Write the season's report: one self-contained HTML file.

    Example: `dokja season report --out report.html`
    """
    from .season.command import write_report

    print(f"wrote {write_report(home, out)}")


@season_app.command("serve")
def season_serve(home: Home = HOME, host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
                 port: Annotated[int, typer.Option(help="Port to serve on.")] = 8300) -> None:
    """Serve a season's board, and its best models once there are any.

    Example: `dokja season serve --port 8300`
    """
    _require_free(host, port)
    _serve_season(home, host, port)


@app.command("serve")
def serve(
    models: Annotated[list[str] | None, typer.Argument(
        help="Folders, .gguf files, owner/name on the hub or release names; the first is the default model. With "
             "--upstream: which of its models, all without it.", show_default=False)] = None,
    name: Annotated[list[str] | None, typer.Option(help="What clients call a model; repeatable, in order.")] = None,
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on; 0 takes a free one.")] = 8300,
    weights: Annotated[str, typer.Option(help="fp32, int8 or int4: what the weights are kept as.")] = "fp32",
    context: Annotated[int | None, typer.Option(min=2, help="Tokens of prompt and answer together; without it, or "
                                                            "where it is more, the model's own.")] = None,
    kv_memory: Annotated[str | None, typer.Option(help="Memory of a model's cache, as 2GiB; without it what "
                                                       "--max-batch full requests take, within half of the free "
                                                       "memory.")] = None,
    max_batch: Annotated[int, typer.Option(min=1, max=4096, help="Requests that run at once.")] = 32,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; the next is answered 429.")] = 256,
    lora: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER: a LoRA adapter of the default model, which "
                                                        "clients ask for by its name; repeatable.")] = None,
    speculate: Annotated[str | None, typer.Option(help="mtp, ngram or off: what drafts tokens, which changes no "
                                                       "answer; without it the model's own MTP layer, if it has "
                                                       "one, and n-grams.")] = None,
    api_keys: Annotated[Path | None, typer.Option(help="File of keys, one a line: KEY [NAME] [requests=N] [tokens=N]; "
                                                       "also DOKJA_API_KEYS=KEY,KEY.")] = None,
    rate_requests: Annotated[int | None, typer.Option(min=1, help="Requests a minute of one key or address.")] = None,
    rate_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens a minute of one key or address.")] = None,
    max_body: Annotated[str, typer.Option(help="Largest request.")] = "4MiB",
    timeout: Annotated[float | None, typer.Option(min=0.001, help="Seconds after which an answer is ended.")] = None,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that answers get to end after SIGTERM.")] = 30,
    log_json: Annotated[bool, typer.Option("--log-json", help="A line of JSON on standard error for each request.")
                        ] = False,
    pages: Annotated[bool, typer.Option("--pages/--no-pages", help="Chat, compare and board pages.")] = True,
    database: Annotated[str | None, typer.Option(help="Where the pages keep conversations and votes: a file, or "
                                                      "postgresql://USER:PASSWORD@HOST/NAME; without it "
                                                      "~/.local/share/dokja/serve.sqlite.")] = None,
    engine: Annotated[str, typer.Option(help="dokja, or vllm: vLLM's scheduler, kernels and devices under the same API "
                                             "and pages.")] = "dokja",
    vllm_arg: Annotated[list[str] | None, typer.Option(help="KEY=VALUE for vLLM, as tensor_parallel_size=2; "
                                                            "repeatable.")] = None,
    own_decoder: Annotated[bool, typer.Option("--own-decoder", help="Run Dokja's network inside vLLM, also where vLLM "
                                                                    "has the model.")] = False,
    upstream: Annotated[str | None, typer.Option(help="Serve the models of an OpenAI-compatible endpoint, up to and "
                                                      "with /v1, whose key is in DOKJA_UPSTREAM_KEY.")] = None,
) -> None:
    """Serve models: an OpenAI-compatible API, and pages to chat and to compare.

    Example: `dokja serve seasons/pocket/teams/k-exaone/stage-1`

    Example: `dokja serve gemma-3-270m.gguf --name gemma --weights int8 --api-keys keys.txt --log-json`

    Example: `dokja serve --upstream https://models.example.kr/v1 --database votes.sqlite`
    """
    from .serve import command

    _require_free(host, port)
    source = command.Source(models or [], name or [], engine, vllm_arg or [], own_decoder, upstream)
    setup = command.setup(weights, kv_memory, max_batch, queue, context, lora or [], speculate)
    command.run(source, setup, host=host, port=port, api_keys=api_keys, rate_requests=rate_requests,
                rate_tokens=rate_tokens, max_body=max_body, timeout=timeout, grace=grace, log_lines=log_json,
                pages=pages, database=database)


@judge_app.command("votes")
def judge_votes(database: Annotated[str | None, typer.Option(help="The server's database: a file, or postgresql://...; "
                                                                  "that of `dokja serve` without it.")] = None,
                as_json: Annotated[bool, typer.Option("--json", help="Print every vote, one JSON object a line, with "
                                                                     "models, prompts, answers and order.")] = False,
                ) -> None:
    """Blind votes of the compare page, counted by pair of models.

    Example: `dokja judge votes --database seasons/pocket/serve.sqlite --json > votes.jsonl`
    """
    from rich.table import Table

    from .serve.store import Store, default_database, tally

    store = Store(database or default_database(), create=False)
    if as_json:
        for vote in store.votes():
            print(json.dumps(vote, ensure_ascii=False))
    else:
        table = Table("A", "B", "A wins", "B wins", "tie", "both bad")
        for row in tally(store.votes()):
            table.add_row(*map(str, row.values()))
        Console().print(table)
    store.close()


@judge_app.command("text")
def judge_text(model: Annotated[Path, typer.Argument(help="A model folder.")],
               text: Annotated[list[Path], typer.Option(help="Text to measure on, as for `season play`; repeatable.")],
               max_bytes: Annotated[int, typer.Option(help="Read no more than this.")] = 1_000_000,
               as_json: AsJson = False) -> None:
    """Bits per byte of a model on a text, with a 95 % interval over documents, beside xz -9.

    Example: `dokja judge text seasons/pocket/teams/k-exaone/stage-1 --text novel.txt`
    """
    from .season.command import measure_text

    result = measure_text(model, text, max_bytes)
    if as_json:
        print(json.dumps(result))
    else:
        interval = "one document, so no interval" if result["low"] is None else (
            f"[{result['low']:.4f}, {result['high']:.4f}] over {result['n']:,} documents")
        print(f"{result['value']:.4f} bits per byte {interval}, {result['bytes']:,} bytes; xz -9: {result['xz']:.4f}")


def _require_free(host: str, port: int, or_else: str = "") -> None:
    """Say that a port is taken before anything is trained or loaded, not after."""
    try:
        with socket.create_server((host, port)):
            pass
    except OverflowError as error:
        raise DokjaError(f"port {port} is not between 0 and 65535: choose another with --port") from error
    except OSError as error:
        # create_server gives a name's error as an OSError too, whose number is none of the system's.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror).partition(" (")[0]
        raise DokjaError(f"cannot serve on {host}:{port} ({why}): choose others with --host and --port{or_else}"
                         ) from error


def _serve_season(home: Path, host: str, port: int) -> None:
    from . import serve as room
    from .models.folder import load_folder
    from .season.command import read_summary
    from .season.play import finalists

    folders = finalists(home, read_summary(home))
    loaded = {name: load_folder(path) for name, path in folders.items()}
    for rank, model in enumerate(loaded.values(), start=1):
        model.card["rank"] = rank
    service = room.start(loaded) if loaded else None
    room.serve(room.create_app(service, lambda: read_summary(home),
                               database=str(home / "serve.sqlite")), host, port)
