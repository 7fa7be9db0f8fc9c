"""Open a database and bring its tables up to this version of Dokja."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from ...errors import DokjaError

WAIT = 20.0  # seconds to wait for another process's write
_LOCK = 7_235_019_448_211_046_111  # the advisory lock of PostgreSQL under which tables are changed; any fixed number


def default_database() -> str:
    """The file in the user's own data folder (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return str(Path(home) / "dokja" / "serve.sqlite")


def open_database(url: str, *, create: bool = True) -> Engine:
    """An engine for a URL, its tables at this version.

    url: `sqlite:///file`, `postgresql://user:password@host/name`, or the path of an SQLite file. create: make a file
    that is not there. Processes that start at once wait for each other. Raises DokjaError when the database cannot be
    reached, is no database, or was written by a newer Dokja.
    """
    address = _address(url)
    shown = address.render_as_string(hide_password=True)
    sqlite = address.get_backend_name() == "sqlite"
    if sqlite and not create and not Path(str(address.database)).exists():
        raise DokjaError(f"there is no database at {address.database}: give another with --database")
    try:
        if sqlite and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(address, connect_args={"timeout": WAIT} if sqlite else {"connect_timeout": 10},
                               pool_pre_ping=not sqlite)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise DokjaError(f"the driver for {shown} is missing ({error}): install dokja[postgres], or use sqlite:///FILE"
                         ) from error
    except OSError as error:
        raise DokjaError(f"the folder of {address.database} cannot be made ({error.strerror}): give another database "
                         "with --database") from error
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        with engine.execution_options(writes=True).begin() as connection:
            if not sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _upgrade(connection, shown)
    except DBAPIError as error:
        engine.dispose()
        reason = str(error.orig).strip().splitlines()[0]
        raise DokjaError(f"the database {shown} cannot be used ({reason}): check that it is there and is Dokja's, or "
                         "give another with --database") from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def migrations(connection: Connection | None = None) -> Config:
    """Alembic's configuration for the migrations that are shipped in this package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, shown: str) -> None:
    config = migrations(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_heads()
    if unknown := set(found) - known:
        raise DokjaError(f"the database {shown} was written by a newer Dokja (its tables are at {min(unknown)}, this "
                         f"version knows up to {max(known)}): run that version, or give another with --database")
    if not found and (strange := _tables(connection)):
        raise DokjaError(f"the database {shown} holds tables that are not Dokja's ({', '.join(strange[:3])}): give a "
                         "database of its own with --database")
    command.upgrade(config, "head")


def _tables(connection: Connection) -> list[str]:
    return sorted(connection.dialect.get_table_names(connection))


def _address(url: str) -> URL:
    if "://" not in url:
        return URL.create("sqlite", database=url)
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise DokjaError("the database's URL is not understood: write sqlite:///FILE or "
                         "postgresql://USER:PASSWORD@HOST/NAME") from error
    if address.drivername in ("postgres", "postgresql"):  # without a driver SQLAlchemy would look for psycopg2
        return address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() not in ("sqlite", "postgresql"):
        raise DokjaError(f"a database of the kind {address.get_backend_name()!r} is not supported: use sqlite:///FILE "
                         "or postgresql://USER:PASSWORD@HOST/NAME")
    if address.get_backend_name() == "sqlite" and address.database in (None, "", ":memory:"):
        raise DokjaError("an SQLite database in memory would be lost: give a file, as in sqlite:///FILE")
    return address


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: one that has read first and then finds another's write could only fail.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
