"""`dokja build`: what models are made from, and making them. Each part has its command in a module of its own."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ..errors import DokjaError
from .corpus.command import corpus
from .plan.command import plan
from .tokenizer.command import app as tokenizer
from .train.command import train
from .watch.command import card, curves, watch

app = typer.Typer(no_args_is_help=True, help="Build a model from scratch: corpus, tokenizer, training."
                                             "\n\nExample: `dokja build text --count 3`")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command("text")
def build_text(count: Annotated[int, typer.Option(help="How many documents.")] = 3,
               seed: Annotated[int, typer.Option(help="Which endless text.")] = 1,
               start: Annotated[int, typer.Option(help="The first document's number.")] = 0,
               as_json: AsJson = False) -> None:
    """Print documents of the built-in Korean text.

    Example: `dokja build text --count 3 --seed 7`
    """
    from .korean import documents

    for document in documents(seed, start, start + count):
        if as_json:
            turns = [{"role": turn.role, "content": turn.content} for turn in document.turns]
            body: dict[str, Any] = {"text": document.text} if document.text else {"messages": turns}
            print(json.dumps({"source": document.source, **body}, ensure_ascii=False))
        else:
            said = [f"{'질문' if turn.role == 'user' else '대답'}: {turn.content}" for turn in document.turns]
            print(f"[{document.source}]\n{document.text or chr(10).join(said)}\n")


@app.command("exercises")
def build_exercises(skill: Annotated[str | None, typer.Option(help="One skill; all without it.")] = None,
                    count: Annotated[int, typer.Option(help="How many of each skill.")] = 3,
                    seed: Annotated[int, typer.Option(help="Which endless stream.")] = 1,
                    evaluation: Annotated[bool, typer.Option("--evaluation", help="Evaluation problems.")] = False,
                    as_json: AsJson = False) -> None:
    """Print verifiable Korean exercises with their answers.

    Example: `dokja build exercises --skill numbers --count 5`
    """
    from itertools import islice

    from .exercises import SKILLS, exercises

    if skill is not None and skill not in SKILLS:
        raise DokjaError(f"unknown skill {skill!r}: choose from {', '.join(SKILLS)}")
    for name in [skill] if skill else SKILLS:
        for item in islice(exercises(name, "evaluation" if evaluation else "train", seed), count):
            if as_json:
                print(json.dumps({"skill": name, "prompt": item.prompt, "answer": item.answer}, ensure_ascii=False))
            else:
                print(f"{name}: {item.prompt} -> {item.answer}")


app.command("corpus")(corpus)
app.command("plan")(plan)
app.command("train")(train)
app.command("watch")(watch)
app.command("card")(card)
app.command("curves")(curves)
app.add_typer(tokenizer, name="tokenizer")
