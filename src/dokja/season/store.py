"""The state of a season in SQLite: whatever is committed here has happened, whatever is not will be done again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, ForeignKey, create_engine, event, select
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from ..errors import DokjaError

SCHEMA = 2


class Base(DeclarativeBase):
    """All tables of a season."""


class Setting(Base):
    """One JSON value by name: schema, plan, rules, state ("playing" or "finished")."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)


class Team(Base):
    """A team: its spec once prepared, where its training stands, and the stage it went out in."""

    __tablename__ = "teams"
    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="in")  # in, out, winner
    out_stage: Mapped[int | None] = mapped_column(default=None)
    spec: Mapped[Any] = mapped_column(JSON, nullable=True, default=None)  # None until its tokenizer and data are ready
    ends: Mapped[Any] = mapped_column(JSON, nullable=True, default=None)
    step: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)  # of training, for the rates in the report
    curve: Mapped[Any] = mapped_column(JSON, default=list)  # [[step, mean loss since the point before], ...]


class Judgement(Base):
    """What one team's model scored at the end of one stage; rank, kept and why are filled once all are judged."""

    __tablename__ = "judgements"
    stage: Mapped[int] = mapped_column(primary_key=True)
    team: Mapped[str] = mapped_column(ForeignKey("teams.name"), primary_key=True)
    raw: Mapped[Any] = mapped_column(JSON)  # bits of each held-out document, hits of each exercise, a sample of writing
    result: Mapped[Any] = mapped_column(JSON, nullable=True, default=None)


class Baseline(Base):
    """Bits per byte of the held-out text under a compressor or a model that is no team."""

    __tablename__ = "baselines"
    name: Mapped[str] = mapped_column(primary_key=True)
    bits_per_byte: Mapped[float] = mapped_column()
    note: Mapped[str] = mapped_column(default="")


class Store:
    """A season's database. Every change goes through `transaction`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", _durable)
        self._session = sessionmaker(self._engine, expire_on_commit=False)

    @classmethod
    def create(cls, path: Path, plan: dict[str, Any], rules: dict[str, Any], teams: tuple[str, ...]) -> Store:
        """A new season's database; complete or not there, so that a kill in between leaves nothing half written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        store = cls(draft)
        with store._session.begin() as session:
            Base.metadata.create_all(session.connection())
            for name, value in {"schema": SCHEMA, "plan": plan, "rules": rules, "state": "playing"}.items():
                session.add(Setting(name=name, value=value))
            session.add_all(Team(name=team) for team in teams)
        store.close()  # the last connection folds the write-ahead log into the file
        draft.replace(path)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Store:
        """An existing season's database; one that is missing, broken or of another version raises DokjaError."""
        if not path.exists():
            raise DokjaError(f"there is no season at {path.parent}: start one with `dokja season play`")
        store = cls(path)
        try:
            with store._session() as session:
                schema = session.get(Setting, "schema")
        except (OperationalError, DatabaseError, json.JSONDecodeError) as error:
            raise DokjaError(f"{path} is not a season's state file, or it is damaged: move it away, or give another "
                             "folder with --home") from error
        if schema is None or schema.value != SCHEMA:
            found = None if schema is None else schema.value
            raise DokjaError(f"{path} was written by another version of Dokja (state version {found}, this is "
                             f"{SCHEMA}): play it with that version, give another folder with --home, or begin "
                             "again with --fresh")
        return store

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on an exception."""
        with self._session.begin() as session:
            yield session

    def setting(self, name: str) -> Any:
        """The value of one setting; KeyError when it was never written."""
        with self._session() as session:
            found = session.get(Setting, name)
            if found is None:
                raise KeyError(name)
            return found.value

    def teams(self) -> list[Team]:
        """All teams in the order of the rules."""
        with self._session() as session:
            found = {team.name: team for team in session.scalars(select(Team))}
        return [found[name] for name in self.setting("rules")["teams"]]

    def judgements(self) -> list[Judgement]:
        """All judgements so far."""
        with self._session() as session:
            return list(session.scalars(select(Judgement).order_by(Judgement.stage)))

    def baselines(self) -> list[Baseline]:
        """All baselines measured so far."""
        with self._session() as session:
            return list(session.scalars(select(Baseline).order_by(Baseline.bits_per_byte.desc())))

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()


def _durable(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
