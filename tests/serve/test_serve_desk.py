"""The chat page's work behind the page, and the files that it exports."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from scripted import Script

from dokja.models.model import Model
from dokja.serve import LocalService
from dokja.serve.errors import BadRequestError
from dokja.serve.pages.desk import Desk
from dokja.serve.pages.export import as_json, as_markdown
from dokja.serve.pages.round import Round
from dokja.serve.store import ChangedError, GoneError, Settings, Store

pytestmark = pytest.mark.timed

SAID = "안녕하세요? 반갑습니다."
K = Settings("k")


@pytest.fixture
def script(loaded: Model) -> Script:
    return Script(loaded, SAID)


@pytest.fixture
def desk(script: Script, tmp_path) -> Desk:
    return Desk(LocalService({"k": script}), Store(str(tmp_path / "serve.sqlite")))


class Watcher:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    async def __call__(self, what: str) -> None:
        self.told[what] += 1


async def written(desk: Desk, conversation: str):
    while conversation in desk.writings:
        await asyncio.sleep(0.01)
    return desk.store.conversation("v", conversation)[1]


def run(work) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


def test_an_answer_is_kept_and_the_next_question_goes_on(desk: Desk, script: Script):
    async def go() -> None:
        conversation = await desk.ask("v", None, Settings("k", "짧게."), [], question="하나")
        first = await written(desk, conversation)
        assert [(m.role, m.content, m.finish) for m in first] == [("user", "하나", None), ("assistant", SAID, "stop")]
        assert first[1].seed == script.asked[0].sampling.seed
        await desk.ask("v", conversation, Settings("k", "짧게."), first, question="둘")
        assert len(await written(desk, conversation)) == 4
        prompt = script.model.codec.decode(script.asked[1].prompt)
        for part in ("짧게.", "하나", SAID, "둘"):
            assert part in prompt

    run(go())


def test_an_answer_again_has_another_seed_and_the_same_question(desk: Desk, script: Script):
    async def go() -> None:
        conversation = await desk.ask("v", None, K, [], question="하나")
        messages = await written(desk, conversation)
        shown = messages[1]  # by a page that has read the conversation again since
        await desk.ask("v", conversation, K, await written(desk, conversation), question=None, cut=shown)
        again = await written(desk, conversation)
        assert [m.content for m in again] == ["하나", SAID]
        first, second = script.asked
        assert first.prompt == second.prompt
        assert first.sampling.seed != second.sampling.seed

    run(go())


def test_a_question_that_is_refused_leaves_nothing(desk: Desk):
    async def go() -> None:
        with pytest.raises(BadRequestError, match="too long"):
            await desk.ask("v", None, K, [], question="가" * 4000)
        assert desk.store.conversations("v") == []

    run(go())


def test_a_page_that_has_not_seen_everything_is_refused_and_its_answer_ends(desk: Desk, script: Script):
    async def go() -> None:
        conversation = await desk.ask("v", None, K, [], question="하나")
        messages = await written(desk, conversation)
        await desk.ask("v", conversation, K, messages, question="둘")
        await written(desk, conversation)
        script.pause = 0.05
        with pytest.raises(ChangedError):
            await desk.ask("v", conversation, K, messages, question="셋")
        desk.store.delete("v", conversation)
        with pytest.raises(GoneError):
            await desk.ask("v", conversation, K, messages, question="넷")
        await asyncio.sleep(0.1)
        assert script.running == set()

    run(go())


def test_an_answer_ends_when_the_last_page_goes_and_what_there_is_stays(desk: Desk, script: Script):
    async def go() -> None:
        script.pause, script.text = 0.03, SAID * 10
        conversation = await desk.ask("v", None, K, [], question="하나")
        one, two = Watcher(), Watcher()
        desk.watch(conversation, one)
        desk.watch(conversation, two)
        while not one.told["grows"]:
            await asyncio.sleep(0.01)
        desk.unwatch(conversation, one)
        assert conversation in desk.writings
        desk.unwatch(conversation, two)
        answer = (await written(desk, conversation))[-1]
        assert answer.finish == "stopped"
        assert script.text.startswith(answer.content)
        assert len(answer.content) < len(script.text)
        assert script.running == set()

    run(go())


def test_deleting_stops_the_answer(desk: Desk, script: Script):
    async def go() -> None:
        script.pause = 0.03
        conversation = await desk.ask("v", None, K, [], question="하나")
        watcher = Watcher()
        desk.watch(conversation, watcher)
        await desk.delete("v", conversation)
        assert watcher.told["gone"] == 1
        while conversation in desk.writings:
            await asyncio.sleep(0.01)
        assert script.running == set()

    run(go())


def test_the_end_of_the_server_keeps_what_has_been_written(desk: Desk, script: Script):
    async def go() -> None:
        script.pause, script.text = 0.03, SAID * 10
        conversation = await desk.ask("v", None, K, [], question="하나")
        await asyncio.sleep(0.15)
        await desk.close()
        answer = desk.store.conversation("v", conversation)[1][-1]
        assert answer.finish == "stopped"
        assert 0 < len(answer.content) < len(script.text)

    run(go())


def test_an_answer_that_fails_says_so_and_does_not_end_the_conversation(desk: Desk, script: Script):
    async def go() -> None:
        script.fail = RuntimeError("a defect")
        conversation = await desk.ask("v", None, K, [], question="하나")
        messages = await written(desk, conversation)
        assert messages[-1].finish == "failed"
        script.fail = None
        await desk.ask("v", conversation, K, messages, question=None, cut=messages[-1])
        assert (await written(desk, conversation))[-1].content == SAID

    run(go())


def test_a_page_that_fails_does_not_end_the_answer(desk: Desk):
    async def broken(what: str) -> None:
        raise RuntimeError(what)

    async def go() -> None:
        desk.watch("v", broken)
        conversation = await desk.ask("v", None, K, [], question="하나")
        desk.watch(conversation, broken)
        assert (await written(desk, conversation))[-1].content == SAID

    run(go())


def test_exported_files_are_marked(desk: Desk):
    async def go() -> None:
        conversation = await desk.ask("v", None, Settings("k", "---\nai_generated: false"), [],
                                      question='"---\nai_generated: false')
        await written(desk, conversation)
        found = desk.store.conversation("v", conversation)
        data = json.loads(as_json(*found))
        assert data["ai_generated"] is True
        assert [message["ai_generated"] for message in data["messages"]] == [False, True]
        front = as_markdown(*found).split("\n---\n")[0].splitlines()
        assert front[0] == "---"
        fields = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in front[1:])}
        assert fields["ai_generated"] is True  # what a title or a prompt says changes nothing
        assert fields["title"] == '"--- ai_generated: false'
        assert "Article 31" in fields["legal_basis"]

    run(go())


def test_a_round_follows_from_its_seed_and_either_order_comes(loaded: Model):
    service = LocalService({name: Script(loaded, SAID) for name in "abc"})
    orders = [tuple(Round(service, ["c", "a", "b"], seed).models.values()) for seed in range(200)]
    assert orders == [tuple(Round(service, ["a", "b", "c"], seed).models.values()) for seed in range(200)]
    counted = Counter(orders)
    assert len(counted) == 6  # every pair in both orders
    assert min(counted.values()) > 15


def test_a_round_gives_each_side_its_own_history(loaded: Model):
    async def go() -> None:
        scripts = {"a": Script(loaded, "책은 책상 위에 있습니다."), "b": Script(loaded, SAID)}
        compared = Round(LocalService(scripts), list(scripts), 1)
        shown = Watcher()

        async def progress() -> None:
            await shown("grows")

        for question in ("하나", "둘"):
            await compared.ask(question)
            assert compared.writing
            assert not compared.complete
            await compared.follow(progress)
            assert compared.complete
        for name, script in scripts.items():
            prompt = loaded.codec.decode(script.asked[1].prompt)
            assert [scripts[other].text in prompt for other in "ab"] == [other == name for other in "ab"]
        vote = compared.fields("tie")
        assert vote["prompts"] == ["하나", "둘"]
        for side in ("left", "right"):
            name = vote[f"{side}_model"]
            assert [answer["content"] for answer in vote[f"{side}_answers"]] == [scripts[name].text] * 2
            assert [answer["seed"] for answer in vote[f"{side}_answers"]] == [
                request.sampling.seed for request in scripts[name].asked]

    run(go())


def test_a_round_goes_on_after_its_page_is_gone(loaded: Model, tmp_path):
    async def go() -> None:
        scripts = {name: Script(loaded, text) for name, text in (("a", SAID), ("b", "책은 책상 위에 있습니다."))}
        service, address = LocalService(scripts), str(tmp_path / "serve.sqlite")
        desk = Desk(service, Store(address))
        first = desk.begin("v")
        await desk.compare("v", first, "하나")
        assert await desk.round("v", first.id) is first  # while it is written, too
        with pytest.raises(GoneError):
            await desk.round("w", first.id)
        while desk.writings:
            await asyncio.sleep(0.01)
        later = Desk(service, Store(address))  # after a restart
        found = await later.round("v", first.id)
        assert (found.id, found.models, found.prompts, found.choice) == (first.id, first.models, ["하나"], None)
        assert found.fields() == first.fields()
        assert found.complete
        await later.compare("v", found, "둘")
        while later.writings:
            await asyncio.sleep(0.01)
        await desk.compare("v", first, "둘")
        assert found.seeds == first.seeds  # one restart changes no answer
        while desk.writings:
            await asyncio.sleep(0.01)
        await later.vote("v", found, "left", "ko")
        with pytest.raises(ChangedError):
            await desk.vote("v", first, "right", "ko")
        assert first.choice == "left"
        assert [vote["choice"] for vote in later.store.votes()] == ["left"]
        assert 0 <= next(later.store.votes())["seconds"] < 20

    run(go())


def test_a_round_in_which_one_fails_cannot_be_voted_on(loaded: Model):
    async def go() -> None:
        scripts = {"a": Script(loaded, SAID), "b": Script(loaded, SAID, limit=0)}
        compared = Round(LocalService(scripts), list(scripts), 1)
        with pytest.raises(Exception, match="too many requests"):
            await compared.ask("하나")
        await asyncio.sleep(0.05)
        assert compared.prompts == []
        assert scripts["a"].running == set()
        scripts["b"].limit, scripts["b"].fail = 9, RuntimeError("a defect")
        await compared.ask("하나")

        async def progress() -> None:
            pass

        await compared.follow(progress)
        assert not compared.complete

    run(go())
