"""What the server keeps, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, insert, text
from typer.testing import CliRunner

from dokja.cli import app
from dokja.errors import DokjaError
from dokja.serve.store import ChangedError, GoneError, Settings, Store, tally
from dokja.serve.store.database import migrations, open_database
from dokja.serve.store.tables import Base, Vote

MODEL = Settings("k-exaone")


@pytest.fixture
def store(database: str):
    ticks = itertools.count(1000)
    opened = Store(database, clock=lambda: float(next(ticks)))
    yield opened
    opened.close()


def ask(store: Store, conversation: str, question: str, *, seen: str | None = None, visitor: str = "v"):
    return store.turn(visitor, conversation, seen=seen, question=question, model="k-exaone", seed=7)


def test_a_conversation_is_kept_over_a_restart(database: str):
    store = Store(database)
    new = store.start("v", "  오늘\n날씨 ", Settings("k-exaone", "짧게", "off"))
    question, answer = ask(store, new.id, "안녕? 🙂 שלום")
    store.write(answer.id, content="네.", reasoning="음", finish="stop", notices=[("dropped", {"n": 2})])
    store.close()
    store = Store(database)
    found, messages = store.conversation("v", new.id)
    assert (found.title, found.model, found.system, found.reasoning) == ("오늘 날씨", "k-exaone", "짧게", "off")
    assert [(m.role, m.content, m.model) for m in messages] == [("user", "안녕? 🙂 שלום", ""),
                                                                 ("assistant", "네.", "k-exaone")]
    assert (messages[1].reasoning, messages[1].finish, messages[1].seed) == ("음", "stop", 7)
    assert messages[1].notices == [["dropped", {"n": 2}]]
    assert messages[0].id == question.id
    store.close()


def test_an_edit_cuts_what_came_after(store: Store):
    new = store.start("v", "가", MODEL)
    first = ask(store, new.id, "하나")
    second = ask(store, new.id, "둘", seen=first[-1].id)
    assert [m.content for m in second] == ["하나", "", "둘", ""]
    edited = store.turn("v", new.id, seen=second[-1].id, cut=first[0].id, question="셋", model="m", seed=1)
    assert [m.content for m in edited] == ["셋", ""]
    assert [m.id for m in store.conversation("v", new.id)[1]] == [m.id for m in edited]
    again = store.turn("v", new.id, seen=edited[-1].id, cut=edited[-1].id, question=None, model="m", seed=2)
    assert [(m.role, m.content, m.seed) for m in again] == [("user", "셋", None), ("assistant", "", 2)]
    assert not store.write(edited[-1].id, content="늦은 답")  # what is cut is not written to any more


def test_two_askers_who_have_seen_the_same_do_not_both_go_on(store: Store):
    new = store.start("v", "가", MODEL)
    first = ask(store, new.id, "하나")

    def try_it(number: int) -> bool:
        try:
            ask(store, new.id, str(number), seen=first[-1].id)
        except ChangedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_it, range(8))) == 1
    assert len(store.conversation("v", new.id)[1]) == 4
    with pytest.raises(ChangedError, match="no longer there"):
        store.turn("v", new.id, seen=store.conversation("v", new.id)[1][-1].id, cut="x", question="?", model="m",
                   seed=1)


def test_the_list_is_the_visitors_own_newest_first(store: Store):
    old, new = store.start("v", "앞", MODEL), store.start("v", "뒤", MODEL)
    store.start("w", "남의 것", MODEL)
    assert [c.title for c in store.conversations("v")] == ["뒤", "앞"]
    ask(store, old.id, "다시")
    assert [c.id for c in store.conversations("v")] == [old.id, new.id]
    assert store.conversations("x") == []


@pytest.mark.parametrize("act", [
    lambda store, c: store.conversation("w", c), lambda store, c: store.rename("w", c, "내 것"),
    lambda store, c: store.delete("w", c), lambda store, c: store.configure("w", c, MODEL),
    lambda store, c: ask(store, c, "?", visitor="w"),
])
def test_another_visitor_finds_nothing(store: Store, act):
    new = store.start("v", "가", MODEL)
    with pytest.raises(GoneError, match="no conversation"):
        act(store, new.id)
    assert store.conversation("v", new.id)[0].title == "가"


def test_rename_configure_delete(store: Store):
    new = store.start("v", "가", MODEL)
    answer = ask(store, new.id, "하나")[-1]
    store.rename("v", new.id, "나 " * 100)
    store.configure("v", new.id, Settings("vaetki", "새로", "on"))
    found, _ = store.conversation("v", new.id)
    assert len(found.title) == 80
    assert (found.model, found.system, found.reasoning) == ("vaetki", "새로", "on")
    store.rename("v", new.id, "  ")
    assert store.conversation("v", new.id)[0].title == found.title
    store.delete("v", new.id)
    with pytest.raises(GoneError):
        store.conversation("v", new.id)
    assert not store.write(answer.id, content="늦은 답")  # its messages went with it


def test_what_no_database_holds_is_replaced(store: Store):
    new = store.start("v", "a\0b\ud800", MODEL)
    ask(store, new.id, "\0\udfff")
    found, messages = store.conversation("v", new.id)
    assert (found.title, messages[0].content) == ("a\ufffdb\ufffd", "\ufffd\ufffd")
    with pytest.raises(GoneError):
        store.conversation("v", "\0")
    store.vote(**{**VOTE, "prompts": ["\0\ud800"]})
    assert next(store.votes())["prompts"] == ["\ufffd\ufffd"]


VOTE = {"visitor": "v", "left_model": "a", "right_model": "b", "order_seed": 2**40, "prompts": ["가", "나"],
        "left_answers": [{"content": "1"}], "right_answers": [{"content": "2"}], "choice": "tie", "language": "ko",
        "seconds": 2.5}


def test_votes_come_back_whole_and_in_order(store: Store):
    for choice in ("left", "right", "bad"):
        store.vote(**{**VOTE, "choice": choice})
    votes = list(store.votes())
    assert [vote["choice"] for vote in votes] == ["left", "right", "bad"]
    assert {key: votes[0][key] for key in VOTE} == {**VOTE, "choice": "left"}
    assert votes[0]["created"] < votes[1]["created"]


def test_a_round_is_kept_before_its_vote_and_a_vote_once_given_stays(store: Store):
    unvoted = {**VOTE, "choice": None, "language": None, "seconds": None}
    store.vote(id="r", **unvoted)
    assert list(store.votes()) == []
    assert store.round("v", "r").prompts == ["가", "나"]
    for act in (lambda: store.round("w", "r"), lambda: store.vote(id="r", **{**VOTE, "visitor": "w"})):
        with pytest.raises(GoneError, match="no round 'r' of yours"):
            act()
    store.vote(id="r", **{**unvoted, "prompts": ["가", "나", "다"]})  # asked on
    store.vote(id="r", **VOTE)
    for again in (unvoted, {**VOTE, "choice": "left"}):
        with pytest.raises(ChangedError, match="has been voted on"):
            store.vote(id="r", **again)
    assert [vote["choice"] for vote in store.votes()] == ["tie"]
    assert store.round("v", "r").choice == "tie"


def test_votes_are_counted_by_pair_whatever_their_order(store: Store):
    for left, right, choice in (("a", "b", "left"), ("b", "a", "left"), ("b", "a", "tie"), ("c", "a", "bad"),
                                ("a", "b", "left")):
        store.vote(**{**VOTE, "left_model": left, "right_model": right, "choice": choice})
    assert tally(store.votes()) == [{"a": "a", "b": "b", "a_wins": 2, "b_wins": 1, "tie": 1, "bad": 0},
                                    {"a": "a", "b": "c", "a_wins": 0, "b_wins": 0, "tie": 0, "bad": 1}]


def test_votes_are_printed_as_json_lines(database: str):
    store = Store(database)
    store.vote(**VOTE)
    store.vote(**{**VOTE, "choice": "left"})
    store.close()
    told = CliRunner().invoke(app, ["judge", "votes", "--database", database, "--json"])
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["choice"] for line in lines] == ["tie", "left"]
    assert {key: lines[0][key] for key in VOTE} == VOTE
    told = CliRunner().invoke(app, ["judge", "votes", "--database", database])
    assert [cell.strip() for cell in told.stdout.splitlines()[3].split("│")[1:-1]] == ["a", "b", "1", "0", "1", "0"]


def test_votes_of_a_database_that_is_not_there(tmp_path: Path):
    told = CliRunner().invoke(app, ["judge", "votes", "--database", str(tmp_path / "no")])
    assert isinstance(told.exception, DokjaError)
    assert "there is no database at" in str(told.exception)
    assert not (tmp_path / "no").exists()


def test_the_migrations_make_the_tables_of_the_code(database: str):
    engine = open_database(database)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_a_database_of_an_older_version_keeps_its_votes(database: str):
    address = database.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(address)
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0001")
        connection.execute(insert(Vote).values(id="old", created=1.0, **VOTE))
    engine.dispose()
    store = Store(database)
    assert {key: value for key, value in next(store.votes()).items() if key in VOTE} == VOTE
    store.vote(id="new", **{**VOTE, "choice": None})


def test_a_database_of_a_newer_version_is_refused(database: str):
    engine = open_database(database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(DokjaError, match=r"written by a newer Dokja \(its tables are at 9999, .* up to 0002\)"):
        Store(database)


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path):
    season = tmp_path / "season.sqlite"
    with contextlib.closing(sqlite3.connect(season)) as connection:
        connection.execute("CREATE TABLE teams (name)")
    with pytest.raises(DokjaError, match="tables that are not Dokja's \\(teams\\)"):
        Store(str(season))
    with contextlib.closing(sqlite3.connect(season)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("teams",)]


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path):
    (tmp_path / "a").write_text("이것은 데이터베이스가 아니다. " * 100)
    with pytest.raises(DokjaError, match=r"cannot be used \(file is not a database\)"):
        Store(str(tmp_path / "a"))
    with pytest.raises(DokjaError, match="cannot be made"):
        Store(str(tmp_path / "a" / "b" / "c"))


@pytest.mark.parametrize(("url", "said"), [
    ("postgresql://me:secret@127.0.0.1:1/x", r"postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/x cannot be used"),
    ("mysql://localhost/x", "kind 'mysql' is not supported"), ("://", "not understood"),
    ("sqlite://", "in memory would be lost"),
])
def test_a_url_that_does_not_serve_is_one_sentence(url: str, said: str):
    with pytest.raises(DokjaError, match=said) as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def _write(database: str, name: int) -> None:
    store = Store(database)
    for i in range(20):
        store.start("v", f"{name} {i}", MODEL)


def test_processes_that_start_and_write_at_once(database: str):
    forked = multiprocessing.get_context("fork")  # a new interpreter each would spend seconds on importing torch
    running = [forked.Process(target=_write, args=(database, name)) for name in range(4)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0] * 4
    assert len(Store(database).conversations("v")) == 80
