"""What POST /v1/chat/completions takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import BadRequestError
from ..service import ChatAsk, ToolChoice
from .fields import Extensible, Format, OfFunctions, Sampling, StreamOptions, Text
from .shapes import ContentLogprobs, Notice, PromptLogprob, UsageBody

EFFORTS = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
ToolName = Annotated[str, Field(min_length=1, max_length=256)]


class Part(Extensible):
    """A part of a message. Models here read text; a part of another type is refused by name."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(max_length=64)
    text: Text | None = None


class CalledFunction(Extensible):
    name: ToolName
    arguments: str = "{}"


class CallBody(Extensible):
    """A tool call of an assistant's message."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Extensible):
    """One message; what clients add to it and the model does not read is left out."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[Part] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = Field(default=None, description="vLLM's newer name for reasoning_content.")
    tool_calls: list[CallBody] | None = None
    tool_call_id: str | None = None

    def plain(self) -> dict[str, Any]:
        """As the text layer has it."""
        message = self.model_dump(exclude_none=True, exclude={"reasoning"})
        if self.reasoning is not None and self.reasoning_content is None:
            message["reasoning_content"] = self.reasoning
        return message


class Function(Extensible):
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(OfFunctions):
    function: Function


class FunctionName(Extensible):
    name: ToolName


class NamedTool(OfFunctions):
    field: ClassVar[str] = "tool_choice"
    function: FunctionName


def asked(messages: Sequence[ChatMessage], model: str | None, *, tools: Sequence[Tool] | None = None,
          tool_choice: str | NamedTool | None = None, parallel: bool | None = None, effort: str | None = None,
          variables: Mapping[str, Any] | None = None) -> ChatAsk:
    """A conversation for the text layer; enable_thinking and thinking among the variables are the reasoning switch."""
    given = dict(variables or {})
    if reserved := {"messages", "tools", "add_generation_prompt"} & set(given):
        raise BadRequestError(f"chat_template_kwargs may not set {', '.join(sorted(reserved))}",
                              param="chat_template_kwargs")
    reasoning = effort
    for name in ("enable_thinking", "thinking"):
        if isinstance(given.get(name), bool):
            reasoning = "on" if given.pop(name) else "off"
    choice = "named" if isinstance(tool_choice, NamedTool) else tool_choice or ("auto" if tools else "none")
    return ChatAsk([message.plain() for message in messages], model, reasoning=reasoning,
                   tools=[tool.model_dump(exclude_none=True) for tool in tools or ()],
                   tool_choice=cast(ToolChoice, choice),
                   tool=tool_choice.function.name if isinstance(tool_choice, NamedTool) else "",
                   parallel_tool_calls=parallel is not False, variables=given)


class ChatRequest(Sampling):
    """The body of POST /v1/chat/completions."""

    model_config = ConfigDict(json_schema_extra={"examples": [
        {"messages": [{"role": "user", "content": "안녕하세요?"}], "temperature": 0, "max_tokens": 20}]})
    refused: ClassVar[Mapping[str, str]] = {
        "audio": "models write text only, leave it out",
        "functions": "send them as tools",
        "function_call": "send it as tool_choice",
        "web_search_options": "nothing is looked up, send what the model is to know in messages",
        "verbosity": "say in the system message how long an answer should be",
        "moderation": "leave it out",
    }
    model: str | None = Field(default=None, description="One of /v1/models; the default without it.")
    messages: list[ChatMessage] = Field(min_length=1, max_length=10_000)
    tools: list[Tool] | None = Field(default=None, max_length=1000)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: EFFORTS | None = None
    chat_template_kwargs: dict[str, Any] | None = Field(
        None, description="Further arguments of the model's chat template; enable_thinking and thinking switch the "
                          "reasoning of any model that has a switch.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    max_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    max_completion_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: Format | None = None
    modalities: list[str] | None = Field(default=None, description="text, the only one that models write.")
    # Sent by habit; they change nothing here.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _top(self) -> ChatRequest:
        if other := next((kind for kind in self.modalities or () if kind != "text"), None):
            raise BadRequestError(f"modalities has {other[:64]!r}, and models here write text only: leave it out",
                                  param="modalities", code="unsupported_value")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        return self

    def ask(self) -> ChatAsk:
        """The conversation for the text layer."""
        return asked(self.messages, self.model, tools=self.tools, tool_choice=self.tool_choice,
                     parallel=self.parallel_tool_calls, effort=self.reasoning_effort,
                     variables=self.chat_template_kwargs)

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    def _format(self) -> Format | None:
        return self.response_format


class AnswerCall(BaseModel):
    id: str
    type: Literal["function"]
    function: CalledFunction


class AnswerMessage(BaseModel):
    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    reasoning_content: str | None = Field(default=None, description="Also as `reasoning`, vLLM's newer name.")
    reasoning: str | None = None
    tool_calls: list[AnswerCall] | None = None


class Choice(BaseModel):
    index: int
    message: AnswerMessage
    logprobs: ContentLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatCompletion(BaseModel):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: UsageBody
    seed: int = Field(description="With it, the same request gives the same answer.")
    notice: Notice
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = None
