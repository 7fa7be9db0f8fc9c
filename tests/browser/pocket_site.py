"""The site that the browser tests visit: real models, except that the first gives a fixed text, slowly if asked to.

Prints its address. POST /test/playing and /test/finished choose which season is on the board.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))

from boards import board
from pocket_models import make_model

from dokja.serve import Engine, create_app, serve
from dokja.serve import old_engine as engine_module

TEXT = "안녕하세요? 저는 아주 작은 모델입니다. 오늘은 날씨가 좋아서 나는 학교에 걸어서 갑니다. 반갑습니다!"


def main() -> None:
    """Serve until a signal comes."""
    with tempfile.TemporaryDirectory() as folder:
        scripted = make_model(Path(folder) / "a", "k-exaone", context=256)
        free = make_model(Path(folder) / "b", "solar-open", context=256, rank=2)
    generate, ids = engine_module.stream, scripted.codec.encode(TEXT)

    def stream(model, prompt, sampling):
        if model is not scripted.decoder:
            yield from generate(model, prompt, sampling)
            return
        slowly = "천천히" in scripted.codec.decode(prompt[-40:])
        for token in ids[: sampling.max_tokens]:
            time.sleep(0.04 if slowly else 0.001)
            yield token

    engine_module.stream = stream
    season = {"playing": False}
    app = create_app(Engine({"k-exaone": scripted, "solar-open": free}), lambda: board(**season))

    @app.post("/test/{state}")
    def choose(state: str) -> None:
        season["playing"] = state == "playing"

    # The pages are mounted at "/" and would take the address before a later route.
    app.router.routes.insert(0, app.router.routes.pop())
    serve(app, port=0)


if __name__ == "__main__":
    main()
