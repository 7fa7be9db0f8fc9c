"""The site that the browser tests visit: a real model, and two that give fixed texts, slowly if asked to.

    python pocket_site.py DATABASE [MODEL ...]

Prints its address. Keys are asked for where a file DATABASE.keys has some.
POST /test/playing and /test/finished choose which season is on the board.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))

from boards import board
from pocket_models import make_model
from scripted import Script

from dokja.models.model import Model
from dokja.serve import LocalService, Settings, create_app, serve, start
from dokja.serve.api import read_keys
from dokja.serve.engine.types import Request

THOUGHT = "무엇을 묻는지 먼저 생각해 봅니다."
TEXT = "안녕하세요? 저는 아주 작은 모델입니다. 오늘은 날씨가 좋아서 나는 학교에 걸어서 갑니다. 반갑습니다!"


class Fixed(Script):
    """Writes TEXT, slowly if the last message says so."""

    def pause_of(self, request: Request) -> float:
        return 0.08 if "천천히" in self.model.codec.decode(request.prompt[-40:]) else 0.001


class Thinking(Fixed):
    """Writes THOUGHT before it, unless the prompt has closed the reasoning."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, TEXT)
        self.text_of = self.thought_and_text

    def thought_and_text(self, request: Request) -> str:
        prompt = self.model.tokenizer.decode(list(request.prompt), skip_special_tokens=False)
        return TEXT if prompt.rstrip().endswith("</think>") else f"{THOUGHT}\n</think>\n\n{TEXT}"


def main() -> None:
    """Serve until a signal comes."""
    database, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        scripted = make_model(Path(folder) / "a", "k-exaone", context=256)
        free = make_model(Path(folder) / "b", "solar-open", context=256, rank=2)
        thinking = make_model(Path(folder) / "c", "exaone-4", context=1024)
    running = start({"solar-open": free})
    # Without a season's card a model talks by its family's published template, which has a reasoning switch.
    thinking = replace(thinking, card={"team": "EXAONE 4.0"})
    engines = {"k-exaone": Fixed(scripted, TEXT), **running.engines, "exaone-4": Thinking(thinking)}
    service = LocalService({name: engines[name] for name in names or engines})
    season = {"playing": False}
    file = Path(f"{database}.keys")
    settings = Settings(keys=read_keys(file, {}) if file.exists() else ())
    app = create_app(service, lambda: board(**season), settings=settings, database=database)

    @app.post("/test/{state}")
    def choose(state: str) -> None:
        season["playing"] = state == "playing"

    # The pages are mounted at "/" and would take the address before a later route.
    app.router.routes.insert(0, app.router.routes.pop())
    serve(app, port=0)


if __name__ == "__main__":
    main()
