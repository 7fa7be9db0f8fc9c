"""The pages' work behind them: conversations and rounds in the store, answers being written, who looks at which."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from weakref import WeakValueDictionary

from ..service import ChatAsk, Options, Service
from ..store import ChangedError, Message, Settings, Store
from .round import TALK, Round
from .writing import Writing

_SAVE = 2.0  # seconds between two times that an unfinished answer is kept
_END = 3.0  # seconds that answers have to be kept when the server ends

log = logging.getLogger("dokja.serve")

Watcher = Callable[[str], Coroutine[Any, Any, None]]  # called with "changed", "gone", "grows" or "listed"


class Desk:
    """Of one site. An answer belongs to its conversation, not to the page that asked: any page that shows the
    conversation follows it, and it ends when none does any more."""

    def __init__(self, service: Service, store: Store) -> None:
        self.service = service
        self.store = store
        self.writings: dict[str, Writing | Round] = {}  # by conversation or round
        # Rounds that a page shows, by visitor and id: a page that is opened anew goes on with the same one.
        self._rounds: WeakValueDictionary[tuple[str, str], Round] = WeakValueDictionary()
        self._watchers: defaultdict[str, set[Watcher]] = defaultdict(set)
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, visitor: str, conversation: str | None, settings: Settings, shown: Sequence[Message], *,
                  question: str | None, cut: Message | None = None, spend: Callable[[int], None] | None = None) -> str:
        """Begin an answer; the conversation's id, a new one's where `conversation` is None.

        shown: the messages that the asker sees. cut: the one that goes first, with all after it. spend: called
        with the tokens that it took. Raises RequestError
        (the question cannot be answered), ChangedError or GoneError; then nothing has changed.
        """
        kept = shown if cut is None else shown[:[message.id for message in shown].index(cut.id)]
        seed = secrets.randbits(32)
        answer = await self.service.chat(ChatAsk(
            _history(settings.system, kept, question), model=settings.model, reasoning=settings.reasoning,
            options=Options(temperature=TALK.temperature, top_p=TALK.top_p, seed=seed), drop_oldest=True))
        try:
            if conversation is None:
                title = question or ""
                conversation = (await asyncio.to_thread(self.store.start, visitor, title, settings)).id
            messages = await asyncio.to_thread(
                self.store.turn, visitor, conversation, seen=shown[-1].id if shown else None, question=question,
                cut=cut.id if cut else None, model=settings.model, seed=seed)
        except BaseException:
            answer.stop()
            raise
        if (earlier := self.writings.get(conversation)) is not None:  # its message has just been cut
            earlier.stop()
        writing = self.writings[conversation] = Writing(answer)
        self._spawn(self._write(conversation, messages[-1].id, writing, spend))
        await self.tell(conversation, "changed")
        await self.tell(visitor, "listed")
        return conversation

    async def _write(self, conversation: str, message: str, writing: Writing,
                     spend: Callable[[int], None] | None) -> None:
        saved = time.monotonic()

        async def progress() -> None:
            nonlocal saved
            await self.tell(conversation, "grows")
            if time.monotonic() - saved > _SAVE:
                saved = time.monotonic()
                if not await self._save(message, writing):
                    writing.stop()

        try:
            await writing.follow(progress)
            await self._save(message, writing)
        finally:
            if self.writings.get(conversation) is writing:
                del self.writings[conversation]
            if spend is not None:
                spend(writing.tokens)
        await self.tell(conversation, "changed")

    async def _save(self, message: str, writing: Writing) -> bool:
        try:
            return await asyncio.to_thread(self.store.write, message, content=writing.content,
                                           reasoning=writing.reasoning, finish=writing.finish, notices=writing.notices)
        except Exception:  # the reader still sees it grow, and the next try may succeed
            log.exception("an answer could not be kept")
            return True

    def begin(self, visitor: str) -> Round:
        """A new round of the compare page, which needs two models or more."""
        new = Round(self.service, list(self.service.models()), secrets.randbits(63))
        self._rounds[visitor, new.id] = new
        return new

    async def round(self, visitor: str, round_id: str) -> Round:
        """A round as other pages show it, or as it was kept; GoneError."""
        if (shown := self._rounds.get((visitor, round_id))) is not None:
            return shown
        kept = Round.kept(self.service, await asyncio.to_thread(self.store.round, visitor, round_id))
        return self._rounds.setdefault((visitor, round_id), kept)

    async def compare(self, visitor: str, asked: Round, question: str, *,
                      spend: Callable[[int], None] | None = None) -> None:
        """Begin both answers of a round and keep them when they have ended; raises what `Service.chat` raises."""
        await asked.ask(question)
        self.writings[asked.id] = asked
        self._spawn(self._answer(visitor, asked, spend))
        await self.tell(asked.id, "changed")

    async def _answer(self, visitor: str, asked: Round, spend: Callable[[int], None] | None) -> None:
        try:
            await asked.follow(lambda: self.tell(asked.id, "grows"))
            await asyncio.to_thread(self.store.vote, visitor=visitor, **asked.fields())
        except Exception:  # it stays on the page, and its vote keeps all of it
            log.exception("a round could not be kept")
        finally:
            del self.writings[asked.id]
            if spend is not None:
                spend(sum(answers[-1].tokens for answers in asked.answers.values()))
        await self.tell(asked.id, "changed")

    async def vote(self, visitor: str, voted: Round, choice: str, language: str) -> None:
        """Keep a vote; ChangedError for a round that was voted on elsewhere, whose choice then stays."""
        voted.choice = choice
        try:
            await asyncio.to_thread(self.store.vote, visitor=visitor, language=language, **voted.fields(choice))
        except ChangedError:
            voted.choice = (await asyncio.to_thread(self.store.round, visitor, voted.id)).choice
            raise
        except BaseException:
            voted.choice = None
            raise
        finally:
            await self.tell(voted.id, "changed")

    async def delete(self, visitor: str, conversation: str) -> None:
        """Delete a conversation and stop what is written in it; GoneError."""
        await asyncio.to_thread(self.store.delete, visitor, conversation)
        if (writing := self.writings.get(conversation)) is not None:
            writing.stop()
        await self.tell(conversation, "gone")
        await self.tell(visitor, "listed")

    async def rename(self, visitor: str, conversation: str, title: str) -> None:
        """Give a conversation another title; GoneError."""
        await asyncio.to_thread(self.store.rename, visitor, conversation, title)
        await self.tell(conversation, "changed")
        await self.tell(visitor, "listed")

    def watch(self, conversation: str, watcher: Watcher) -> None:
        """Tell `watcher` what happens to a conversation, or to the list of a visitor (by the visitor's id)."""
        self._watchers[conversation].add(watcher)

    def unwatch(self, conversation: str, watcher: Watcher) -> None:
        """Stop telling; an answer that nobody looks at any more ends."""
        watchers = self._watchers.get(conversation, set())
        watchers.discard(watcher)
        if not watchers:
            self._watchers.pop(conversation, None)
            if (writing := self.writings.get(conversation)) is not None:
                writing.stop()

    async def tell(self, conversation: str, what: str) -> None:
        """Call everyone who watches a conversation."""
        for watcher in list(self._watchers.get(conversation, ())):
            try:
                await watcher(what)
            except Exception:  # a page that fails must not end the others' answer
                log.exception("a page could not show what happened")

    async def close(self) -> None:
        """Stop all answers and keep what there is of them."""
        for writing in self.writings.values():
            writing.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)


def _history(system: str, messages: Sequence[Message], question: str | None) -> list[dict[str, Any]]:
    """A conversation in OpenAI's form; answers that are empty are left out, with the question before them."""
    turns: list[dict[str, Any]] = [{"role": "system", "content": system}] if system.strip() else []
    for message in messages:
        if message.role == "assistant" and not message.content:
            turns.pop()
        else:
            turns.append({"role": message.role, "content": message.content})
    return [*turns, {"role": "user", "content": question}] if question is not None else turns
