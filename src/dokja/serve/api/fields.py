"""Fields that several requests share: how to sample, what an answer must match, by when it must be there."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..engine.types import Grammar
from ..errors import BadRequestError
from ..service import Options

TokenId = Annotated[int, Field(ge=0, lt=2**31)]
IdText = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
StopText = Annotated[str, Field(min_length=1, max_length=1000)]
Text = Annotated[str, Field(max_length=4_000_000)]
LONGEST_WAIT = 24 * 3600.0  # seconds


class Strict(BaseModel):
    """A request: an unknown field is refused, since a setting that is ignored misleads.

    refused: what OpenAI's clients know and nobody has here, each with what to do instead; null and false pass.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    refused: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _offered(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name in cls.refused.keys() & data.keys():
            if data[name] is not None and data[name] is not False:
                raise BadRequestError(f"{name} is not offered here: {cls.refused[name]}", param=name,
                                      code="unsupported_parameter")
        return {name: value for name, value in data.items() if name not in cls.refused}


class Extensible(BaseModel):
    """A part of a request to which clients add; what is not read here is left out, and types are exact."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class OfFunctions(Extensible):
    """A tool, or the choice of one; functions are the only kind. field: where it stands."""

    field: ClassVar[str] = "tools"
    type: Literal["function"]

    @model_validator(mode="before")
    @classmethod
    def _function(cls, data: Any) -> Any:
        kind = data.get("type") if isinstance(data, dict) else None
        if isinstance(kind, str) and kind != "function":
            raise BadRequestError(f"{cls.field} has one of type {kind[:64]!r}, and only functions, which the client "
                                  "runs itself, are offered here: leave it out", param=cls.field,
                                  code="unsupported_value")
        return data


class StreamOptions(Strict):
    """What a stream also tells."""

    refused: ClassVar[Mapping[str, str]] = {"include_obfuscation": "leave it out"}
    include_usage: bool = Field(default=False, description="A last chunk with the usage and no choices.")


class JsonSchema(Extensible):
    """A named JSON schema, as response_format has it."""

    name: str = Field(max_length=256)
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextFormat(Strict):
    type: Literal["text"]


class JsonObjectFormat(Strict):
    type: Literal["json_object"]


class JsonSchemaFormat(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


Format = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StructuredOutputs(Strict):
    """vLLM's name for what an answer must match; give one of them."""

    json_: dict[str, Any] | str | None = Field(default=None, alias="json")
    json_object: bool | None = None
    regex: str | None = Field(default=None, max_length=10_000)
    choice: list[str] | None = Field(default=None, min_length=1, max_length=1000)


class Sampling(Strict):
    """How the next token is chosen, with OpenAI's names and defaults and vLLM's additions."""

    temperature: float | None = Field(default=None, ge=0, le=2, description="0 is greedy; 1 without it.")
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, lt=2**31, description="-1 or 0: all.")
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[IdText, Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        default=None, description="What is added to a token's logit, by its id as text.")
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63, description="The same seed gives the same text.")
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = Field(
        default=None, description="One to four strings that end the answer.")
    stop_token_ids: list[TokenId] | None = Field(default=None, max_length=1000)
    include_stop_str_in_output: bool = False
    ignore_eos: bool = Field(default=False, description="Do not end at the model's own end.")
    min_tokens: int | None = Field(default=None, ge=0, lt=2**31)
    prompt_logprobs: int | None = Field(default=None, ge=0, le=20)
    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | str | None = Field(
        default=None, description="vLLM's older name for structured_outputs.json.")
    guided_regex: str | None = Field(default=None, max_length=10_000)
    guided_choice: list[str] | None = Field(default=None, min_length=1, max_length=1000)
    timeout: float | None = Field(
        default=None, gt=0, le=LONGEST_WAIT,
        description="Seconds until nobody waits for the answer any more; also as the header X-Request-Timeout.")

    @model_validator(mode="after")
    def _one_grammar(self) -> Sampling:
        if len(self._grammars()) > 1:
            raise ValueError("only one thing can be matched: leave all but one format out")
        return self

    def options(self, max_tokens: int | None, logprobs: int | None, wait: float | None) -> Options:
        """The text layer's options; wait: seconds that the server or a header allows."""
        def given(value: Any, default: Any) -> Any:
            return default if value is None else value

        waits = [seconds for seconds in (self.timeout, wait) if seconds is not None]
        grammars = self._grammars()
        return Options(
            max_tokens=max_tokens, min_tokens=given(self.min_tokens, 0), temperature=given(self.temperature, 1.0),
            top_p=given(self.top_p, 1.0), top_k=max(0, given(self.top_k, 0)), min_p=given(self.min_p, 0.0),
            repetition_penalty=given(self.repetition_penalty, 1.0),
            presence_penalty=given(self.presence_penalty, 0.0), frequency_penalty=given(self.frequency_penalty, 0.0),
            logit_bias={int(token): bias for token, bias in (self.logit_bias or {}).items()}, seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            stop_token_ids=tuple(self.stop_token_ids or ()), include_stop=self.include_stop_str_in_output,
            ignore_eos=self.ignore_eos, logprobs=logprobs, prompt_logprobs=self.prompt_logprobs,
            grammar=grammars[0] if grammars else None,
            deadline=time.monotonic() + min(waits) if waits else None)

    def _format(self) -> Format | None:
        """The request's response_format, where it has one."""
        return None

    def _grammars(self) -> list[Grammar]:
        found = []
        match self._format():
            case JsonObjectFormat():
                found.append(Grammar("json", ""))
            case JsonSchemaFormat(json_schema=named):
                found.append(Grammar("json_schema", json.dumps(named.schema_)))
        outputs = self.structured_outputs or StructuredOutputs()
        for schema in (outputs.json_, self.guided_json):
            if schema is not None:
                found.append(Grammar("json_schema", schema if isinstance(schema, str) else json.dumps(schema)))
        found += [Grammar("regex", regex) for regex in (outputs.regex, self.guided_regex) if regex is not None]
        found += [Grammar("choice", json.dumps(choice, ensure_ascii=False))
                  for choice in (outputs.choice, self.guided_choice) if choice is not None]
        return [*found, Grammar("json", "")] if outputs.json_object else found


def timeout_header(value: str | None) -> float | None:
    """Seconds of X-Request-Timeout; BadRequestError for what is no number of seconds."""
    if value is None:
        return None
    try:
        seconds = float(value)
        if not 0 < seconds <= LONGEST_WAIT:
            raise ValueError
    except ValueError as error:
        raise BadRequestError(f"the header X-Request-Timeout is {value!r}: give seconds, up to {LONGEST_WAIT:.0f}",
                              param="X-Request-Timeout") from error
    return seconds
