"""What the server keeps: conversations of the chat page and votes of the compare page.

Times are seconds since 1970 (UTC). A change here needs a migration beside it (`migrations/versions`); a test compares
the two.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Dialect, Double, ForeignKey, MetaData, String, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL, which PostgreSQL refuses, and halves of UTF-16 pairs


def storable(value: Any) -> Any:
    """The value with U+FFFD for what a database cannot hold, in every string of lists and dicts too."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list | tuple) else value


class _Text(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return storable(value)


class _Json(TypeDecorator[Any]):
    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return storable(value)


class Base(DeclarativeBase):
    """All tables of the server; constraints have names, so that a later migration can speak of them."""

    type_annotation_map: ClassVar = {str: _Text, float: Double, Any: _Json}
    metadata = MetaData(naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s",
    })


class Conversation(Base):
    """A conversation of one visitor. model, system and reasoning are those of the next question."""

    __tablename__ = "conversations"
    id: Mapped[str] = mapped_column(primary_key=True)
    visitor: Mapped[str] = mapped_column(index=True)
    title: Mapped[str]
    model: Mapped[str]
    system: Mapped[str] = mapped_column(default="")
    reasoning: Mapped[str | None]  # a value of the model's reasoning switch; None: the model's default
    created: Mapped[float]
    updated: Mapped[float]


class Message(Base):
    """One turn. role: "user" or "assistant"; model, seed, reasoning, finish and notices belong to an answer.

    finish: why the answer ended ("stop", "length", "stopped": by the reader, "failed"); None while it is written.
    notices: [[key of the page's words, values], ...], what the page says below it.
    """

    __tablename__ = "messages"
    __table_args__ = (UniqueConstraint("conversation", "place"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    conversation: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    place: Mapped[int]
    role: Mapped[str]
    content: Mapped[str]
    reasoning: Mapped[str] = mapped_column(default="")
    model: Mapped[str] = mapped_column(default="")
    seed: Mapped[int | None] = mapped_column(BigInteger)
    finish: Mapped[str | None]
    notices: Mapped[Any] = mapped_column(default=list)
    created: Mapped[float]


class Vote(Base):
    """One reader's choice between two models that answered the same questions unnamed.

    prompts: the questions; left_answers, right_answers: one for each prompt, as
    {"content", "reasoning", "seed", "finish", "notices"}. order_seed: what the order was drawn from. choice: "left",
    "right", "tie" or "bad" (both bad); None, as language (of the interface) and seconds (from the end of both answers
    to the vote), while the reader has not voted. created: when the vote came, before that when the answers had ended.
    """

    __tablename__ = "votes"
    id: Mapped[str] = mapped_column(primary_key=True)
    visitor: Mapped[str] = mapped_column(index=True)
    left_model: Mapped[str]
    right_model: Mapped[str]
    order_seed: Mapped[int] = mapped_column(BigInteger)
    prompts: Mapped[Any] = mapped_column()
    left_answers: Mapped[Any] = mapped_column()
    right_answers: Mapped[Any] = mapped_column()
    choice: Mapped[str | None]
    language: Mapped[str | None]
    seconds: Mapped[float | None]
    created: Mapped[float] = mapped_column(index=True)
