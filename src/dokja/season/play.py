"""Playing a season: a small scheduler over worker processes, one database transaction for each thing that happened."""

from __future__ import annotations

import multiprocessing
import os
import queue
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ..build.corpus import build_corpus
from ..build.document import Document
from ..build.korean import documents
from ..build.read import Texts
from ..build.seeds import named_seed
from ..errors import DokjaError
from . import work
from .plan import Plan
from .progress import Progress
from .rules import Rules, StageRule
from .stage import decide
from .store import Baseline, Judgement, Setting, Store, Team
from .work import Season

DATABASE = "season.db"
SEGMENTS = 4  # of a stage: how much a kill can cost, and how evenly five teams share two workers


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """The player pressed Ctrl-C; everything trained so far is on disk."""


def new_season(home: Path, plan: Plan, rules: Rules, progress: Progress) -> None:
    """Collect a season's text, then write its state: text that cannot be used leaves no season behind."""
    progress.say("collecting text")
    stream: Any = Texts([Path(text) for text in plan.texts]) if plan.texts else _built_in(plan)
    build_corpus(
        stream, home / "corpus", train_bytes=plan.train_bytes, heldout_bytes=plan.heldout_bytes,
        seed=named_seed(plan.seed, "corpus"), progress=progress.corpus,
        description=", ".join(plan.texts) or "Dokja's own generator of Korean text",
        skipped=stream.skipped if isinstance(stream, Texts) else None,
    )
    Store.create(home / DATABASE, plan.to_dict(), asdict(rules), rules.teams).close()


def open_season(home: Path) -> tuple[Season, Store]:
    """The season in a folder; DokjaError when there is none, or not one of this version."""
    store = Store.open(home / DATABASE)
    saved = store.setting("rules")
    rules = Rules(**{**saved, "teams": tuple(saved["teams"]),
                     "stages": tuple(StageRule(**stage) for stage in saved["stages"])})
    return Season(home, Plan.from_dict(store.setting("plan")), rules), store


def play(home: Path, *, progress: Progress) -> None:
    """Play the season in `home` from wherever it stands to its end.

    A full disk, a worker that died and bad text raise DokjaError; Ctrl-C raises Interrupted. In each case the same
    command goes on from the last checkpoint.
    """
    season, store = open_season(home)
    try:
        _Player(season, store, progress).play()
    finally:
        store.close()


class _Player:
    def __init__(self, season: Season, store: Store, progress: Progress) -> None:
        self.season, self.store, self.progress = season, store, progress
        context = multiprocessing.get_context("spawn")
        self.stop = context.Event()
        self.messages = context.Queue()
        # Freed blocks stay with the process instead of going back to the system and being zeroed again at each step;
        # it has to be set before a worker's C library starts.
        for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
            os.environ.setdefault(name, str(1 << 29))
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.pool = ProcessPoolExecutor(season.plan.workers, mp_context=context, initializer=work.start_worker,
                                        initargs=(season.plan.threads, self.stop, self.messages))
        self.running: dict[Future[Any], tuple[str, Callable[[Any], None]]] = {}

    def play(self) -> None:
        try:
            self.chances = work.chances(self.season)
            self._end_stage()  # a player may have left between a stage's last judgement and its decision
            while self.store.setting("state") == "playing":
                # What is ready is read from the whole state, judgements included: not five times a second for nothing.
                if len(self.running) < self.season.plan.workers:
                    self._submit_ready()
                self._wait()
        except KeyboardInterrupt:
            self._let_finish()
            raise Interrupted from None
        except BrokenProcessPool as error:
            raise DokjaError("a worker process died (out of memory?): run the same command again, the season goes on "
                             "from its last checkpoint") from error
        finally:
            self.stop.set()
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.messages.close()
            self.messages.join_thread()

    def _submit_ready(self) -> None:
        """Give the workers what can be done now, the team with the most left to do first."""
        busy = {name for name, _ in self.running.values()}
        if "baselines" not in busy and not self.store.baselines():
            self._submit("baselines", self._keep_baselines, work.baselines, self.season)
        stage = self._stage()
        judged = {row.team for row in self.store.judgements() if row.stage == stage}
        waiting = [team for team in self.store.teams()
                   if team.state == "in" and team.name not in busy and team.name not in judged]
        waiting.sort(key=lambda team: team.step / team.ends[-1] if team.ends else -1.0)
        for team in waiting:
            if len(self.running) >= self.season.plan.workers:
                return
            self._submit_team(team, stage)

    def _submit_team(self, team: Team, stage: int) -> None:
        name = team.name
        if team.spec is None:
            self._submit(name, lambda found: self._update(name, **found), work.prepare, self.season, name)
            self.progress.team(name, "preparing")
        elif team.step < team.ends[stage - 1]:
            segment = -(-team.ends[-1] // (SEGMENTS * len(self.season.rules.stages)))
            until = min(team.ends[stage - 1], team.step + segment)
            self.progress.training(name, team.step, team.ends, stage, team.seconds)
            self._submit(name, lambda found: self._update(name, **found),
                         work.train, self.season, name, team.spec, team.ends, until)
        else:
            self.progress.team(name, "being judged")
            self._submit(name, lambda found: self._keep_judgement(name, stage, found),
                         work.judge, self.season, name, team.spec, team.ends, stage)

    def _submit(self, name: str, done: Callable[[Any], None], job: Callable[..., Any], *arguments: Any) -> None:
        self.running[self.pool.submit(job, *arguments)] = (name, done)

    def _wait(self) -> None:
        finished, _ = wait(self.running, timeout=0.2, return_when=FIRST_COMPLETED)
        self._drain()
        for future in finished:
            name, done = self.running.pop(future)
            found = future.result()
            done(found)
            self.progress.team(name, "waiting")
        if finished:
            self._end_stage()
        self.progress.refresh()

    def _drain(self) -> None:
        try:
            while True:
                self.progress.step(*self.messages.get_nowait())
        except queue.Empty:
            pass

    def _let_finish(self) -> None:
        """After Ctrl-C: workers save where they are, and what they did is kept."""
        self.progress.say("stopping: saving where every team stands")
        self.stop.set()
        for future in self.running:
            future.cancel()
        for future, (_, done) in self.running.items():
            if not future.cancelled():
                done(future.result())

    def _stage(self) -> int:
        """The stage that is being played, from 1."""
        decided = {row.stage for row in self.store.judgements() if row.result is not None}
        return len(decided) + 1

    def _update(self, name: str, **values: Any) -> None:
        with self.store.transaction() as session:
            team = session.get_one(Team, name)
            for key, value in values.items():
                setattr(team, key, value)

    def _keep_baselines(self, found: list[tuple[str, float, str]]) -> None:
        with self.store.transaction() as session:
            session.add_all(Baseline(name=name, bits_per_byte=bits, note=note) for name, bits, note in found)

    def _keep_judgement(self, name: str, stage: int, raw: dict[str, Any]) -> None:
        with self.store.transaction() as session:
            session.add(Judgement(stage=stage, team=name, raw=raw))

    def _end_stage(self) -> None:
        """Once every team of a stage is judged and the baselines are there, decide it in one transaction."""
        stage = self._stage()
        inside = {team.name for team in self.store.teams() if team.state == "in"}
        mine = {row.team: row.raw for row in self.store.judgements() if row.stage == stage and row.team in inside}
        xz = next((row.bits_per_byte for row in self.store.baselines() if row.name == "xz -9"), None)
        if mine.keys() != inside or xz is None:
            return
        rules = self.season.rules
        rows = decide(mine, rules, rules.stages[stage - 1], xz=xz, chances=self.chances,
                      seed=named_seed(self.season.plan.seed, "bootstrap", stage))
        last = stage == len(rules.stages)
        with self.store.transaction() as session:
            for judgement in session.scalars(select(Judgement).where(Judgement.stage == stage)):
                judgement.result = rows[judgement.team]
            for name, row in rows.items():
                team = session.get_one(Team, name)
                if not row["kept"]:
                    team.state, team.out_stage = "out", stage
                elif last:
                    team.state = "winner"
            if last:
                session.get_one(Setting, "state").value = "finished"
        self.progress.decided(stage, rules.stages[stage - 1], list(rows.values()), xz)


def _built_in(plan: Plan) -> Iterator[Document]:
    """A little more of the generator's endless text than the corpus can hold."""
    made, enough = 0, 1.1 * (plan.train_bytes + plan.heldout_bytes)
    for document in documents(named_seed(plan.seed, "text")):
        yield document
        made += len(document.content.encode())
        if made > enough:
            return


def remove(home: Path) -> None:
    """Delete a season's files and nothing else that may lie in the folder."""
    for name in ("corpus", "teams"):
        shutil.rmtree(home / name, ignore_errors=True)
    for path in home.glob(f"{DATABASE}*"):
        path.unlink()
    (home / "report.html").unlink(missing_ok=True)


def finalists(home: Path, summary: dict[str, Any]) -> dict[str, Path]:
    """The model folders that the last judged stage left, the best first."""
    for stage in reversed(summary["stages"]):
        if stage["table"]:
            return {row["team"]: home / "teams" / row["team"] / f"stage-{stage['number']}" for row in stage["table"]}
    return {}

