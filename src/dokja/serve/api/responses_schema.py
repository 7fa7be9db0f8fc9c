"""What POST /v1/responses takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from ..engine.types import Grammar
from .chat_schema import EFFORTS, CallBody, CalledFunction, ChatMessage, Function, FunctionName, NamedTool, Part, Tool
from .chat_schema import ToolName as Name
from .fields import (
    Extensible,
    Format,
    JsonObjectFormat,
    JsonSchema,
    JsonSchemaFormat,
    OfFunctions,
    Sampling,
    StreamOptions,
    Strict,
    Text,
    TextFormat,
)
from .shapes import Notice


class InputMessage(Extensible):
    """A message of the conversation so far."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[Part]


class InputCall(Extensible):
    """A tool call that the model made."""

    type: Literal["function_call"]
    call_id: str
    name: Name
    arguments: str


class InputOutput(Extensible):
    """What a tool answered."""

    type: Literal["function_call_output"]
    call_id: str
    output: Text | list[Part]


class InputReasoning(Extensible):
    """The reasoning before the answer that follows it."""

    type: Literal["reasoning"]
    content: list[Part] | None = None


def _kind(item: Any) -> Any:
    return item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)


Item = Annotated[
    Annotated[InputMessage, Tag("message")] | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputOutput, Tag("function_call_output")] | Annotated[InputReasoning, Tag("reasoning")],
    Discriminator(_kind, custom_error_type="item", custom_error_message=(
        "an item of another type is not read here, give those of type message, function_call, function_call_output and "
        "reasoning"))]


class FunctionTool(OfFunctions):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionChoice(OfFunctions):
    field: ClassVar[str] = "tool_choice"
    name: Name


class SchemaFormat(Strict):
    """A JSON schema, flat, as this endpoint has it."""

    type: Literal["json_schema"]
    name: str = Field(max_length=256)
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextSettings(Strict):
    refused: ClassVar[Mapping[str, str]] = {"verbosity": "say in instructions how long an answer should be"}
    format: Annotated[TextFormat | JsonObjectFormat | SchemaFormat, Field(discriminator="type")] | None = None


class ReasoningSettings(Strict):
    effort: EFFORTS | None = None
    # The reasoning is given whole, which holds what a summary would.
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


_UNSTORED = "responses are not stored, so send the whole conversation as input"


class ResponsesRequest(Sampling):
    """The body of POST /v1/responses. Responses are not stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "안녕하세요?", "max_output_tokens": 20}]})
    refused: ClassVar[Mapping[str, str]] = {
        "previous_response_id": _UNSTORED,
        "conversation": _UNSTORED,
        "store": "responses are never stored, leave it out or set it to false",
        "background": "wait for the response, or stream it",
        "prompt": "send its text as instructions and input",
        "moderation": "leave it out",
    }
    model: str | None = None
    input: Text | Annotated[list[Item], Field(min_length=1, max_length=10_000)]
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[FunctionTool] | None = Field(default=None, max_length=1000)
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextSettings | None = None
    reasoning: ReasoningSettings | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = Field(
        default=None, description="The reasoning is always there, and never encrypted.")
    truncation: Literal["auto", "disabled"] | None = Field(default=None, description="auto: the oldest messages go.")
    metadata: dict[str, Any] | None = None
    user: str | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    max_tool_calls: int | None = None  # of tools that a server runs itself

    @property
    def wanted_logprobs(self) -> int | None:
        given = "message.output_text.logprobs" in (self.include or ())
        return self.top_logprobs if self.top_logprobs is not None else 0 if given else None

    def _format(self) -> Format | None:
        match self.text.format if self.text else None:
            case SchemaFormat() as found:
                named = JsonSchema.model_validate({"name": found.name, "schema": found.schema_})
                return JsonSchemaFormat(type="json_schema", json_schema=named)
            case found:
                return found

    def grammar(self) -> Grammar | None:
        """What the text must match."""
        found = self._grammars()
        return found[0] if found else None

    def chat_tools(self) -> list[Tool]:
        """The tools as the chat endpoint has them."""
        return [Tool(type="function", function=Function(**tool.model_dump(exclude={"type"})))
                for tool in self.tools or ()]

    def chat_choice(self) -> str | NamedTool | None:
        """tool_choice as the chat endpoint has it."""
        if isinstance(self.tool_choice, FunctionChoice):
            return NamedTool(type="function", function=FunctionName(name=self.tool_choice.name))
        return self.tool_choice

    def messages(self) -> list[ChatMessage]:
        """The conversation as messages: calls and reasoning belong to the assistant's message beside them."""
        done = [ChatMessage(role="system", content=self.instructions)] if self.instructions else []
        if isinstance(self.input, str):
            return [*done, ChatMessage(role="user", content=self.input)]
        reasoning: str | None = None
        for item in self.input:
            match item:
                case InputReasoning(content=parts):
                    reasoning = "".join(part.text or "" for part in parts or ())
                case InputMessage(role=role, content=content):
                    message = ChatMessage(role=role, content=_parts(content))
                    if role == "assistant" and reasoning:
                        message.reasoning_content, reasoning = reasoning, None
                    done.append(message)
                case InputCall():
                    if not done or done[-1].role != "assistant":
                        done.append(ChatMessage(role="assistant", reasoning_content=reasoning))
                        reasoning = None
                    call = CallBody(id=item.call_id, function=CalledFunction(name=item.name, arguments=item.arguments))
                    done[-1].tool_calls = [*(done[-1].tool_calls or ()), call]
                case InputOutput(call_id=given, output=output):
                    done.append(ChatMessage(role="tool", tool_call_id=given, content=_parts(output)))
        return done


def _parts(content: str | Sequence[Part]) -> str | list[Part]:
    """Text parts under the name that the chat endpoint has for them; others keep theirs and are refused by it."""
    if isinstance(content, str):
        return content
    return [part.model_copy(update={"type": "text"}) if part.type in ("input_text", "output_text") else part
            for part in content]


class InputDetails(BaseModel):
    cached_tokens: int


class OutputDetails(BaseModel):
    reasoning_tokens: int


class ResponseUsage(BaseModel):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseBody(BaseModel):
    """A whole response. output: items of type reasoning, message and function_call."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "in_progress", "failed"]
    model: str
    output: list[dict[str, Any]]
    usage: ResponseUsage | None
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    notice: Notice
