"""The site that the browser tests visit: real models, except that the first gives a fixed text, slowly if asked to.

Prints its address. POST /test/playing and /test/finished choose which season is on the board.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))

from boards import board
from pocket_models import make_model
from scripted import Script

from dokja.serve import LocalService, create_app, serve, start
from dokja.serve.engine.types import Request

TEXT = "안녕하세요? 저는 아주 작은 모델입니다. 오늘은 날씨가 좋아서 나는 학교에 걸어서 갑니다. 반갑습니다!"


class Fixed(Script):
    """Writes TEXT, slowly if the last message says so."""

    def pause_of(self, request: Request) -> float:
        return 0.04 if "천천히" in self.model.codec.decode(request.prompt[-40:]) else 0.001


def main() -> None:
    """Serve until a signal comes."""
    with tempfile.TemporaryDirectory() as folder:
        scripted = make_model(Path(folder) / "a", "k-exaone", context=256)
        free = make_model(Path(folder) / "b", "solar-open", context=256, rank=2)
    running = start({"solar-open": free})
    service = LocalService({"k-exaone": Fixed(scripted, TEXT), **running.engines})
    season = {"playing": False}
    app = create_app(service, lambda: board(**season))

    @app.post("/test/{state}")
    def choose(state: str) -> None:
        season["playing"] = state == "playing"

    # The pages are mounted at "/" and would take the address before a later route.
    app.router.routes.insert(0, app.router.routes.pop())
    serve(app, port=0)


if __name__ == "__main__":
    main()
