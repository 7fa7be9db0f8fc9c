"""Run by a Python that has vLLM: `python vllm_run.py FOLDER [own]`; on standard input JSON with prompts of ids and how
many tokens to write; on the last line what our adapter hands over of each: tokens, and their log-probabilities."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from dokja.serve.engine.types import Request, SamplingParams
from dokja.serve.vllm import VllmEngine


async def answers(folder: Path, own: bool, prompts: list[list[int]], count: int) -> list[dict[str, Any]]:
    engine = VllmEngine(folder, context=128, own_decoder=own, options={"dtype": "float32", "enforce_eager": True})
    try:
        async def one(number: int, prompt: list[int]) -> dict[str, Any]:
            sampling = SamplingParams(max_tokens=count, temperature=0.0, logprobs=0)
            steps = [step async for step in engine.submit(Request(f"r{number}", tuple(prompt), sampling))]
            return {"tokens": [token for step in steps for token in step.tokens], "finish": steps[-1].finish,
                    "logprobs": [entry.logprob for step in steps for entry in step.logprobs]}

        return list(await asyncio.gather(*(one(number, prompt) for number, prompt in enumerate(prompts))))
    finally:
        engine.close()


def main() -> None:
    asked = json.load(sys.stdin)
    found = asyncio.run(answers(Path(sys.argv[1]), "own" in sys.argv[2:], asked["prompts"], asked["count"]))
    print()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
