"""`dokja build tokenizer`: train a tokenizer, and compare it with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import DokjaError

if TYPE_CHECKING:
    from .curriculum import Stage

app = typer.Typer()


@app.callback(invoke_without_command=True)
def train_one(
    context: typer.Context,
    text: Annotated[list[Path] | None, typer.Option(help="A file, a folder or a built corpus; repeatable.")] = None,
    vocab: Annotated[int, typer.Option(help="Tokens, special ones and the 256 bytes included.")] = 65_536,
    out: Annotated[Path, typer.Option(help="Folder for tokenizer.json and the report.")] = Path("tokenizer"),
    sample: Annotated[float, typer.Option(help="Bytes of text to learn from; held in memory.")] = 2e8,
    share: Annotated[list[str] | None, typer.Option(metavar="SOURCE=SHARE", help="Share of a source in the sample, "
                                                                                 "from 0 to 1; repeatable.")] = None,
    superwords: Annotated[float, typer.Option(help="Share of the vocabulary learnt across spaces; 0: none.")] = 0.25,
    morphemes: Annotated[float, typer.Option(help="Share learnt inside morphemes first (needs kiwipiepy).")] = 0,
    digits: Annotated[str, typer.Option(help="single, or triples: groups of three from the right.")] = "triples",
    jamo: Annotated[str, typer.Option(help="Letters such as ㅋ: single, or runs that may merge.")] = "runs",
    longest: Annotated[int, typer.Option(help="Words in a token, at most.")] = 4,
    nfc: Annotated[bool, typer.Option("--nfc", help="Compose Hangul when text is encoded, too.")] = False,
    family: Annotated[str | None, typer.Option(help="Family whose turn markers become special tokens.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a tokenizer (without a further verb), or compare tokenizers.

    Byte-level BPE that learns inside morphemes if asked, inside words, then across spaces.

    Example: `dokja build tokenizer --text corpus --vocab 65536 --out tokenizer --family ax-k1`

    Example: `dokja build tokenizer --text laws.jsonl.xz --text code/ --share code=0.2 --sample 1e8`
    """
    if context.invoked_subcommand is not None:
        return
    from ...models.families import family as family_named
    from .curriculum import Plan, train
    from .patterns import Patterns
    from .report import save
    from .sources import draw, sources_of

    if not text:
        raise DokjaError("there is nothing to learn from; give a file or a folder with --text")
    if digits not in ("single", "triples") or jamo not in ("single", "runs"):
        raise DokjaError(f"--digits is single or triples and --jamo is single or runs, not {digits} and {jamo}")
    plan = Plan(vocab, superwords, morphemes, longest, Patterns(digits, jamo), nfc)  # type: ignore[arg-type]
    chat = family_named(family).chat if family else None
    drawn = draw(sources_of(text), int(sample), _shares(share or []))
    if not as_json:
        for source in drawn.sources:
            print(f"{source.name}: {source.drawn / 1e6:,.1f} of {source.size / 1e6:,.1f} MB, {source.share:.1%}")
    found = save(out, train(drawn, plan, chat, (lambda stage: None) if as_json else _tell), drawn, plan, chat)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    if found["vocab"] < vocab:
        print(f"the text has pairs for {found['vocab']:,} tokens only: give more --text or a larger --sample")
    kinds = ", ".join(f"{name} {count:,}" for name, count in found["tokens_by_kind"].items() if count)
    print(f"{kinds}; unused {found['unused']:,}")
    print(f"{out}: {found['vocab']:,} tokens, {found['bytes_per_token']:.2f} bytes a token on the sample, "
          f"{found['seconds']:.0f} s")


def _tell(stage: Stage) -> None:
    print(f"{stage.name}: {stage.tokens:,} tokens, {stage.seconds:.1f} s", flush=True)


def _shares(given: list[str]) -> dict[str, float]:
    shares = {}
    for one in given:
        name, _, share = one.rpartition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            name = ""
        if not name:
            raise DokjaError(f"--share {one} is not SOURCE=SHARE, as in code=0.2")
    return shares


@app.command("compare")
def compare(
    tokenizers: Annotated[list[str], typer.Argument(metavar="TOKENIZER...", help="tokenizer.json, a folder with one, "
                                                    "or o200k_base, cl100k_base, llama3, qwen3 (with quicktok-v1).")],
    text: Annotated[list[str] | None, typer.Option(metavar="[NAME=]PATH", help="A text, a column; repeatable.")] = None,
    against: Annotated[str | None, typer.Option(help="Whose tokens the others' are compared with; without it "
                                                     "o200k_base where it is given, else the first.")] = None,
    sample: Annotated[float, typer.Option(help="Bytes of each text to measure on.")] = 5e6,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare tokenizers on the same texts: tokens per character (and more or fewer than --against), bytes per token,
    single bytes of longer characters, whether the text comes back, and encoding speed.

    Example: `dokja build tokenizer compare tokenizer o200k_base qwen3 --text korean.txt --text code=source.jsonl`
    """
    from ..read import Texts
    from .compare import aligned, contestant, first_bytes, measure, named_texts, table
    from .compare import as_json as rows_as_json

    if not text:
        raise DokjaError("there is nothing to compare on; give a file or a folder with --text")
    base = against or ("o200k_base" if "o200k_base" in tokenizers else tokenizers[0])
    if base not in tokenizers:
        raise DokjaError(f"--against {base} is none of the tokenizers compared: {', '.join(tokenizers)}")
    texts = {name: first_bytes((one.content for one in Texts([path])), int(sample))
             for name, path in named_texts(text).items()}
    rows = measure([contestant(name) for name in dict.fromkeys(tokenizers)], texts)
    if as_json:
        print(json.dumps(rows_as_json(rows, base), ensure_ascii=False, indent=1))
        return
    for line in aligned(table(rows, base)):
        print(line)
    print(f"tokens per character, and how many more or fewer than {base}")
