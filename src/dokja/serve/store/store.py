"""Conversations and votes in a database. A visitor sees their own conversations only."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ...errors import DokjaError
from .database import open_database
from .tables import Conversation, Message, Vote

LISTED = 500  # conversations in a list, the newest
TITLE = 80  # characters of a title


class GoneError(DokjaError):
    """There is no such conversation, or it is another visitor's."""


class ChangedError(DokjaError):
    """The conversation is no longer what the asker has seen."""


@dataclass(frozen=True)
class Settings:
    """What the next question of a conversation is asked with; reasoning None: the model's default."""

    model: str
    system: str = ""
    reasoning: str | None = None


class Store:
    """A database by URL or file name (`open_database`). Methods may be called from any thread and process."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time, *, create: bool = True) -> None:
        self._engine = open_database(url, create=create)
        self._writing = self._engine.execution_options(writes=True)
        self._clock = clock

    def conversations(self, visitor: str) -> list[Conversation]:
        """A visitor's conversations, the newest first."""
        with self._read() as session:
            chosen = select(Conversation).where(Conversation.visitor == visitor)
            return list(session.scalars(chosen.order_by(Conversation.updated.desc(), Conversation.id).limit(LISTED)))

    def conversation(self, visitor: str, conversation_id: str) -> tuple[Conversation, list[Message]]:
        """A conversation and its messages in order; GoneError."""
        with self._read() as session:
            return _own(session, visitor, conversation_id), _messages(session, conversation_id)

    def start(self, visitor: str, title: str, settings: Settings) -> Conversation:
        """A new conversation without messages."""
        now = self._clock()
        new = Conversation(id=uuid.uuid4().hex, visitor=visitor, title=_title(title), model=settings.model,
                           system=settings.system, reasoning=settings.reasoning, created=now, updated=now)
        with self._write() as session:
            session.add(new)
        return new

    def configure(self, visitor: str, conversation_id: str, settings: Settings) -> None:
        """Ask the next question differently; GoneError."""
        with self._write() as session:
            found = _own(session, visitor, conversation_id, lock=True)
            found.model, found.system, found.reasoning = settings.model, settings.system, settings.reasoning

    def rename(self, visitor: str, conversation_id: str, title: str) -> None:
        """Give a conversation another title, unless that is empty; GoneError."""
        with self._write() as session:
            found = _own(session, visitor, conversation_id, lock=True)
            found.title = _title(title) or found.title

    def delete(self, visitor: str, conversation_id: str) -> None:
        """Delete a conversation with its messages; GoneError."""
        with self._write() as session:
            session.delete(_own(session, visitor, conversation_id, lock=True))

    def turn(self, visitor: str, conversation_id: str, *, seen: str | None, question: str | None,
             cut: str | None = None, model: str, seed: int) -> list[Message]:
        """Begin an answer: all messages, the last being the answer to write.

        seen: id of the last message that the asker knows of; ChangedError if another came meanwhile. cut: the message
        that goes with all after it first (to ask it otherwise, or to answer again). question: what to append before
        the answer; None: the last message is the question. GoneError.
        """
        now = self._clock()
        with self._write() as session:
            found = _own(session, visitor, conversation_id, lock=True)
            messages = _messages(session, conversation_id)
            if seen != (messages[-1].id if messages else None):
                raise ChangedError("the conversation has been continued elsewhere: look at it and send again")
            if cut is not None:
                places = [message.place for message in messages if message.id == cut]
                if not places:
                    raise ChangedError("that message is no longer there: look at the conversation and send again")
                session.execute(delete(Message).where(Message.conversation == conversation_id,
                                                      Message.place >= places[0]))
                messages = messages[:places[0]]
            if question is not None:
                messages.append(Message(role="user", content=question))
            messages.append(Message(role="assistant", content="", model=model, seed=seed))
            for place, message in enumerate(messages):
                if message.id is None:
                    message.id, message.conversation, message.place = uuid.uuid4().hex, conversation_id, place
                    message.reasoning, message.notices = "", []
                    message.model, message.created = message.model or "", now
                    session.add(message)
            found.updated = now
            session.flush()
            return messages

    def write(self, answer: str, *, content: str, reasoning: str = "", finish: str | None = None,
              notices: list[tuple[str, dict[str, Any]]] | None = None) -> bool:
        """Keep what an answer is so far; False when it has been deleted meanwhile."""
        with self._write() as session:
            changed = update(Message).where(Message.id == answer).values(
                content=content, reasoning=reasoning, finish=finish, notices=notices or [])
            return session.scalar(changed.returning(Message.id)) is not None

    def round(self, visitor: str, round_id: str) -> Vote:
        """A round of the compare page, voted on or not; GoneError."""
        with self._read() as session:
            found = session.get(Vote, round_id)
        if found is None or found.visitor != visitor:
            raise GoneError(f"there is no round {round_id!r} of yours: begin another")
        return found

    def vote(self, *, visitor: str, id: str | None = None, **fields: Any) -> Vote:
        """Keep a round as it is now, with its vote once there is one; fields: those of `Vote` without created.

        id None: a new round's. A vote that was given stays: ChangedError. GoneError for another visitor's round.
        """
        with self._write() as session:
            found = session.get(Vote, id, with_for_update=True) if id else None
            if found is None:
                found = Vote(id=id or uuid.uuid4().hex, visitor=visitor)
                session.add(found)
            if found.visitor != visitor:
                raise GoneError(f"there is no round {id!r} of yours: begin another")
            if found.choice is not None:
                raise ChangedError("this round has been voted on: look at it")
            for name, value in {**fields, "created": self._clock()}.items():
                setattr(found, name, value)
        return found

    def votes(self) -> Iterator[dict[str, Any]]:
        """All votes as JSON data, the oldest first."""
        columns = [column.name for column in Vote.__table__.columns]
        with self._read() as session:
            given = select(Vote).where(Vote.choice.is_not(None)).order_by(Vote.created, Vote.id)
            for vote in session.scalars(given.execution_options(yield_per=200)):
                yield {name: getattr(vote, name) for name in columns}

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE else line[:TITLE - 1] + "…"


def _own(session: Session, visitor: str, conversation_id: str, *, lock: bool = False) -> Conversation:
    chosen = select(Conversation).where(Conversation.id == conversation_id, Conversation.visitor == visitor)
    found = session.scalar(chosen.with_for_update() if lock else chosen)
    if found is None:
        raise GoneError(f"there is no conversation {conversation_id!r} of yours: it may have been deleted")
    return found


def _messages(session: Session, conversation_id: str) -> list[Message]:
    chosen = select(Message).where(Message.conversation == conversation_id)
    return list(session.scalars(chosen.order_by(Message.place)))
