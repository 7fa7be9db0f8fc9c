"""Follow an answer to its end, whoever looks on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..service import Answer, Content, End, Reasoning

log = logging.getLogger("dokja.serve")

_FRAME = 0.04  # seconds between updates of a page while an answer comes


@dataclass
class Writing:
    """The text of an answer so far, or of one that was kept (answer None).

    finish: as `store.Message.finish`; notices: keys of `words` with their values.
    """

    answer: Answer | None
    content: str = ""
    reasoning: str = ""
    finish: str | None = None
    notices: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tokens: int = 0  # of prompt and answer, once it has ended

    def stop(self) -> None:
        """End it where it is."""
        if self.answer is not None:
            self.answer.stop()

    async def follow(self, progress: Callable[[], Awaitable[None]]) -> None:
        """Read the pieces; call `progress` a few times a second, less often as the text grows long.

        It never raises: what goes wrong is logged and told by `finish`.
        """
        assert self.answer is not None
        shown = 0.0
        try:
            async for piece in self.answer:
                match piece:
                    case Content(text):
                        self.content += text
                    case Reasoning(text):
                        self.reasoning += text
                    case End(finish, usage):
                        self.tokens = usage.prompt + usage.completion
                        self.finish = {"cancelled": "stopped", "deadline": "length"}.get(finish, finish)
                pause = _FRAME * (1 + (len(self.content) + len(self.reasoning)) / 4000)
                if (now := time.monotonic()) - shown > pause:
                    await progress()
                    shown = now
            if self.answer.dropped:
                self.notices.append(("dropped", {"n": self.answer.dropped}))
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("an answer failed")
            self.finish = "failed"
        finally:
            self.answer.stop()
            self.finish = self.finish or "stopped"
