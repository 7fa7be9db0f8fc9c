"""vLLM behind our token interface: the same API and pages, vLLM's scheduler, kernels and devices."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DokjaError
from ..models.checkpoint.kept import CONFIG, TOKENIZER, kept_files, read_tokenizer, stop_tokens
from ..models.checkpoint.published import empty, read_spec
from ..models.checkpoint.shards import read_json, stored_tensors
from ..models.families import checkpoint_of
from ..models.folder import SPEC, read_folder
from ..models.loading import family_of
from ..models.model import Model
from ..models.saving import save
from ..models.vllm.plugin import ANY
from .engine.stream import Stream
from .engine.types import Finish, Grammar, Request, SamplingParams, Stats, Step, TokenLogprob
from .errors import BadRequestError, BusyError, UnavailableError
from .start import context_of

if TYPE_CHECKING:
    import vllm


class VllmEngine:
    """A published folder, or one that Dokja wrote, run by vLLM (`types.TokenEngine`).

    context: tokens of prompt and answer together, None for the model's own. queue: how many requests may be under way.
    own_decoder: run our network inside vLLM, also where vLLM has a class of the model (its classes need kernels that
    not every device has). options: further arguments of vLLM's AsyncEngineArgs (dtype, tensor_parallel_size ...).

    Raises DokjaError when vLLM is not installed or cannot run the model.
    """

    def __init__(self, path: Path, *, context: int | None = None, queue: int = 256,
                 own_decoder: bool = False, options: Mapping[str, Any] | None = None) -> None:
        try:
            from vllm import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise DokjaError(f"--engine vllm needs vLLM ({error}): install dokja[vllm] in an environment of its own"
                             ) from error
        self._exported: tempfile.TemporaryDirectory[str] | None = None
        folder = path
        if (path / SPEC).is_file():  # vLLM reads published folders only
            self._exported = tempfile.TemporaryDirectory(prefix="dokja-vllm-")
            folder = Path(self._exported.name) / path.name
            save(read_folder(path), folder, "hf")
        self.model = described(folder)
        self.context = context_of(self.model.spec, context, folder.name)
        arguments = {"skip_tokenizer_init": self.model.tokenizer is None, "max_model_len": self.context,
                     "disable_log_stats": True,
                     **({"hf_overrides": {"architectures": [ANY]}} if own_decoder else {}), **(options or {})}
        try:
            self._vllm = AsyncLLM.from_engine_args(AsyncEngineArgs(model=str(folder), **arguments))
        except Exception as error:  # vLLM, transformers and pydantic have each their own
            hint = "" if own_decoder else "; --own-decoder runs Dokja's network inside vLLM"
            raise DokjaError(f"vLLM cannot run {path} ({reason(error)}){hint}") from error
        self._most = queue
        self._tasks: dict[Stream, asyncio.Task[None]] = {}
        self._closed = False
        self._prompt_tokens = self._cached_tokens = self._generated_tokens = 0

    def submit(self, request: Request) -> Stream:
        if self._closed:
            raise UnavailableError("the engine is closed")
        if not request.prompt:
            raise BadRequestError("the prompt is empty: give at least one token", param="prompt")
        if len(request.prompt) >= self.context:
            raise BadRequestError(f"the prompt has {len(request.prompt):,} tokens and the context holds "
                                  f"{self.context:,}, the answer included: shorten it", param="prompt",
                                  code="context_length_exceeded")
        if not all(0 <= token < self.model.spec.vocab for token in request.prompt):
            raise BadRequestError(f"a token id of the prompt is outside the vocabulary of {self.model.spec.vocab:,}",
                                  param="prompt")
        if request.adapter is not None:
            raise BadRequestError(f"there is no adapter {request.adapter!r}", param="model", code="model_not_found")
        if len(self._tasks) >= self._most:
            raise BusyError(f"{len(self._tasks)} requests are under way: try again in a few seconds", code="queue_full")
        stream = Stream(request, self._cancel)
        task = asyncio.get_running_loop().create_task(self._follow(stream))
        self._tasks[stream] = task
        task.add_done_callback(lambda _: self._tasks.pop(stream, None))
        return stream

    async def compile(self, grammar: Grammar) -> None:
        """Nothing: vLLM does it in a process of its own, and its refusal is the answer's."""

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        raise BadRequestError("embeddings are not served through vLLM: serve the model with --engine dokja")

    def stats(self) -> Stats:
        return Stats(running=len(self._tasks), prompt_tokens=self._prompt_tokens, cached_tokens=self._cached_tokens,
                     generated_tokens=self._generated_tokens)

    def close(self) -> None:
        self._closed = True
        for stream in list(self._tasks):
            self._cancel(stream)
        self._vllm.shutdown()
        if self._exported:
            self._exported.cleanup()

    def _cancel(self, stream: Stream) -> None:
        if task := self._tasks.get(stream):
            stream.loop.call_soon_threadsafe(task.cancel)

    async def _follow(self, stream: Stream) -> None:
        """Hand over vLLM's outputs as steps until the request ends, is cancelled or is late."""
        request, begun = stream.request, False
        left = None if request.deadline is None else max(0.0, request.deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                async for output in self._vllm.generate({"prompt_token_ids": list(request.prompt)},
                                                        params(request.sampling), request.id):
                    if not begun:
                        begun = True
                        self._begin(stream, output)
                    stream.put(self._step(request, output.outputs[0]))
        except asyncio.CancelledError:
            stream.put(Step((), finish="cancelled"))
        except TimeoutError:
            stream.put(Step((), finish="deadline"))
        except ValueError as error:  # what vLLM refuses, such as a grammar that does not compile
            stream.put(BadRequestError(reason(error)))
        except Exception as error:
            stream.put(UnavailableError(f"vLLM failed: {reason(error)}"))

    def _begin(self, stream: Stream, output: vllm.RequestOutput) -> None:
        stream.cached = output.num_cached_tokens or 0
        self._prompt_tokens += len(stream.request.prompt)
        self._cached_tokens += stream.cached
        if output.prompt_logprobs is not None:
            stream.prompt_logprobs = [None if found is None else logprob(token, found) for token, found in
                                      zip(stream.request.prompt, output.prompt_logprobs, strict=True)]

    def _step(self, request: Request, output: vllm.CompletionOutput) -> Step:
        tokens = list(output.token_ids)
        self._generated_tokens += len(tokens)
        logprobs = [logprob(token, found, request.sampling.logprobs or 0) for token, found in
                    zip(tokens, output.logprobs or (), strict=False)]
        finish: Finish | None = None
        if output.finish_reason is not None:
            finish = "length" if output.finish_reason == "length" else "stop"
            if finish == "stop" and tokens and tokens[-1] in request.sampling.stop:
                tokens, logprobs = tokens[:-1], logprobs[:len(tokens) - 1]
        return Step(tuple(tokens), tuple(logprobs), finish)


def described(folder: Path) -> Model:
    """What a published folder says of itself, its decoder without memory; DokjaError if it is none."""
    config = read_json(folder / CONFIG)
    spec = read_spec(checkpoint_of(config), config, stored_tensors(folder), folder / CONFIG)
    files = kept_files(folder)
    tokenizer = read_tokenizer(folder / TOKENIZER) if TOKENIZER in files else None
    return Model(empty(spec, str(folder / CONFIG)), tokenizer, family_of(config, spec), {}, files, stop_tokens(files))


def reason(error: Exception) -> str:
    """What an exception of vLLM says, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if "See root cause above" in lines[0] or "See stack trace (above)" in lines[0]:
        return "its log above says why"  # it was in another process
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def params(sampling: SamplingParams) -> vllm.SamplingParams:
    """Our sampling settings as vLLM's."""
    import vllm
    from vllm.sampling_params import RequestOutputKind

    return vllm.SamplingParams(
        max_tokens=sampling.max_tokens, min_tokens=sampling.min_tokens, temperature=sampling.temperature,
        top_p=sampling.top_p, top_k=sampling.top_k, min_p=sampling.min_p, seed=sampling.seed,
        repetition_penalty=sampling.repetition_penalty, presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty, logit_bias=dict(sampling.logit_bias) or None,
        stop_token_ids=list(sampling.stop), ignore_eos=True, logprobs=sampling.logprobs,
        prompt_logprobs=sampling.prompt_logprobs, detokenize=False, output_kind=RequestOutputKind.DELTA,
        structured_outputs=sampling.grammar and _structured(sampling.grammar))


def _structured(grammar: Grammar) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    match grammar.kind:
        case "json_schema":
            return StructuredOutputsParams(json=grammar.text)
        case "json":
            return StructuredOutputsParams(json_object=True)
        case "regex":
            return StructuredOutputsParams(regex=grammar.text)
        case "choice":
            return StructuredOutputsParams(choice=json.loads(grammar.text))


def logprob(token: int, found: Mapping[int, Any], top: int = 0) -> TokenLogprob:
    """vLLM's log-probabilities of one place as ours."""
    best = sorted(found.items(), key=lambda item: item[1].rank)[:top]
    return TokenLogprob(token, found[token].logprob, tuple((index, one.logprob) for index, one in best))

