"""One asyncio process that asks an OpenAI-compatible server many things at once and notes when each piece comes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx


@dataclass(frozen=True)
class Load:
    """What came of a round of chats: generated tokens a second over all; seconds to each first piece of text, and
    between each piece and the one before it (servers send a piece a token, or one a step)."""

    rate: float
    first: list[float]
    between: list[float]


def load(url: str, model: str, prompts: Sequence[str], tokens: int, extra: dict[str, Any]) -> Load:
    """Stream a greedy completion of `tokens` tokens for every prompt at once.

    extra: what makes this server write on past an end of text. Raises RuntimeError where it refuses, or writes fewer.
    """
    return asyncio.run(_load(url, model, prompts, tokens, extra))


async def _load(url: str, model: str, prompts: Sequence[str], tokens: int, extra: dict[str, Any]) -> Load:
    limits = httpx.Limits(max_connections=len(prompts))
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=900) as client:
        start = time.perf_counter()
        chats = await asyncio.gather(*(_chat(client, model, prompt, tokens, extra) for prompt in prompts))
        seconds = time.perf_counter() - start
    between = [later - before for times in chats for before, later in pairwise(times)]
    return Load(len(prompts) * tokens / seconds, [times[0] - start for times in chats], between)


async def _chat(client: httpx.AsyncClient, model: str, prompt: str, tokens: int, extra: dict[str, Any]) -> list[float]:
    """When each piece came."""
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0.0, "stream": True, **extra}
    times: list[float] = []
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise RuntimeError(f"{client.base_url}: {response.status_code} {(await response.aread()).decode()[:300]}")
        written = None
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            data = json.loads(line[6:])
            if "error" in data:
                raise RuntimeError(f"{client.base_url}: {line[:300]}")
            if data.get("choices") and data["choices"][0]["text"]:
                times.append(time.perf_counter())
            if usage := data.get("usage"):
                written = usage["completion_tokens"]
    if written != tokens or not times:
        raise RuntimeError(f"{client.base_url} wrote {written} tokens and was asked for {tokens}")
    return times
