"""What a family file holds: the official specs, the layout of the published files, how chat turns are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..chat.template import ChatTemplate
from ..checkpoint.layout import Checkpoint
from ..spec import ModelSpec


@dataclass(frozen=True)
class ChatFormat:
    """How a conversation becomes text: each turn is its role's opening, the content, `end`, and `between` after it.

    special: the markers that the tokenizer must keep whole.
    """

    user: str
    assistant: str
    end: str
    between: str
    special: tuple[str, ...]

    def turn(self, role: str, content: str) -> str:
        """One finished turn, without what stands between turns."""
        return self.opening(role) + content + self.end

    def opening(self, role: str) -> str:
        """What stands before a turn's content."""
        return {"user": self.user, "assistant": self.assistant}[role]

    def prompt(self, turns: Sequence[tuple[str, str]]) -> str:
        """The conversation so far, as (role, content), ending where the assistant is to go on."""
        return "".join(self.turn(role, content) + self.between for role, content in turns) + self.assistant


CHATML = ChatFormat(user="<|im_start|>user\n", assistant="<|im_start|>assistant\n", end="<|im_end|>", between="\n",
                    special=("<|im_start|>", "<|im_end|>"))


@dataclass(frozen=True)
class Release:
    """One published model.

    spec: its official architecture; `spec.name` is typed on the command line. repository: where its weights are, as
    owner/name on the Hugging Face hub; None if they were never published. licence: an SPDX id, or the licence's own
    name. source: where the values were read. total: the published number of parameters, where one was published to
    the unit or follows from the published files' sizes; tests hold the spec to it. template: its own chat template,
    where it differs from its family's.
    """

    spec: ModelSpec
    repository: str | None
    licence: str
    source: str
    total: int | None = None
    template: ChatTemplate | None = None


@dataclass(frozen=True)
class Family:
    """Models of one architecture.

    name: as typed on the command line; it means the first release, the one that plays in a season. reference: the
    implementation that tests/parity compares ours with. checkpoint: the layout of the published files. chat: how
    models that are trained here write turns. template: how the published models do, with tools and reasoning; None
    where none was published. note: what a reader should know that no field says.
    """

    name: str
    title: str
    company: str
    releases: tuple[Release, ...]
    reference: str
    checkpoint: Checkpoint | None = None
    chat: ChatFormat = field(default=CHATML)
    template: ChatTemplate | None = None
    note: str = ""

    @property
    def spec(self) -> ModelSpec:
        """The first release's architecture."""
        return self.releases[0].spec

    def chat_template(self, release: Release | None = None) -> ChatTemplate | None:
        """The chat template of one of its releases (of the first without one named), or None if none was published."""
        return (release or self.releases[0]).template or self.template
