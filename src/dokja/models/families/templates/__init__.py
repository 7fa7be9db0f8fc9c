"""Each family's chat template and reasoning switch.

KoGPT has none: it was published as a model of running text. Where a template tells the model of tools, the sentences
around the declarations are ours; a checkpoint's own template (ChatTemplate.source) has the developer's.
"""

from ...chat.syntax import (
    DEEPSEEK_TOKENS,
    HARMONY,
    HCX_TURNS,
    PLAIN_HERMES,
    SOLAR_TOKENS,
    THINK_HERMES,
    THINK_KEY_VALUE,
    Syntax,
    think,
)
from ...chat.template import ChatTemplate

_ENABLE = {"on": {"enable_thinking": True}, "off": {"enable_thinking": False}}

TEMPLATES = {template.name: template for template in (
    ChatTemplate(
        "k-exaone", "k-exaone", _ENABLE, "on", THINK_HERMES,
        unverified=("reasoning_content is kept after the last question (for calls in a row)",
                    "the declaration of tools stands before the system turn"),
    ),
    ChatTemplate(
        "exaone-4.5", "k-exaone", _ENABLE, "on", THINK_HERMES,
        note="format as in ollama's renderer for EXAONE 4.5; text only",
        unverified=("reasoning_content is kept after the last question",),
    ),
    ChatTemplate(
        "exaone-4", "exaone-4", _ENABLE, "off", THINK_HERMES,
        note="earlier reasoning is always left out, as by the published template's default skip_think",
    ),
    ChatTemplate("exaone-3.5", "exaone-3.5", note="reasoning is a checkpoint of its own: EXAONE Deep"),
    ChatTemplate(
        "exaone-deep", "exaone-deep", {"on": {}}, "on", Syntax(think("<thought>", "</thought>")),
        note="it always reasons; without reasoning: EXAONE 3.5; LG advises against a system prompt",
    ),
    ChatTemplate(
        "ax-k1", "chatml", _ENABLE, "on", THINK_HERMES,
        unverified=("turn markers", "think tags", "tool format", "which value of enable_thinking is the default"),
    ),
    ChatTemplate(
        "ax-4", "chatml", syntax=PLAIN_HERMES, note="no reasoning; that is A.X 4.1",
        unverified=("exact turns (ChatML and Hermes calls as of Qwen2.5, its base)",),
    ),
    ChatTemplate(
        "hyperclova-x-seed-think-14b", "hyperclova-x-seed-think-14b",
        {"on": {"force_reasoning": True}, "off": {"skip_reasoning": True}}, None, HCX_TURNS,
        note="without a value the model decides by itself; stop at <|endofturn|> and <|stop|>",
        unverified=("tools are declared as bare functions",),
    ),
    ChatTemplate(
        "hyperclova-x-seed-think-32b", "hyperclova-x-seed",
        {"on": {"thinking": True}, "off": {"thinking": False}}, "off", THINK_KEY_VALUE, note="text only",
    ),
    ChatTemplate(
        "hyperclova-x-seed-omni", "hyperclova-x-seed",
        {"on": {"skip_reasoning": False}, "off": {"skip_reasoning": True}}, "on", THINK_KEY_VALUE, note="text only",
    ),
    ChatTemplate(
        "vaetki", "vaetki", _ENABLE, "on", Syntax(think()),
        note="thinking is cut at a budget by writing a sentence and </think> into the answer",
        unverified=("order of the markers in a turn", "newline between turns", "how thinking is switched off",
                    "tool format (none here)"),
    ),
    ChatTemplate(
        "solar-open", "solar-open",
        {"on": {"reasoning_effort": "high"}, "off": {"reasoning_effort": "minimal"},
         "low": {"reasoning_effort": "low"}, "high": {"reasoning_effort": "high"}}, "high", SOLAR_TOKENS,
        note="off and low write the same empty block of thinking, and the model may still think; the dated system "
             "prompt that the published template begins with is left out",
        unverified=("the system turn without that prompt", "how tools are declared", "the tool's turn"),
    ),
    ChatTemplate(
        "solar-pro", "chatml", note="the preview; Solar Pro 2 is an API, and its format is not published",
        unverified=("turn markers (ChatML)", "whether a system turn is understood"),
    ),
    ChatTemplate(
        "kanana", "llama-headers", note="Kanana Nano and 1.5",
        unverified=("turn markers (Llama-3 headers)", "tool format (none here)"),
    ),
    ChatTemplate(
        "kanana-2", "llama-headers", syntax=PLAIN_HERMES,
        note="reasoning is a checkpoint of its own: Kanana-2 Thinking",
        unverified=("turn markers (Llama-3 headers)", "how tools are declared and their results written"),
    ),
    ChatTemplate(
        "kanana-2-thinking", "llama-headers", {"on": {"enable_thinking": True}}, "on", THINK_HERMES,
        note="it always reasons; without reasoning: Kanana-2 Instruct",
        unverified=("turn markers (Llama-3 headers)", "that the prompt opens the thinking",
                    "how tools are declared and their results written"),
    ),
    ChatTemplate(
        "midm-2", "llama-headers", note="no reasoning",
        unverified=("turn markers (Llama-3 headers)", "tool format (none here)"),
    ),
    ChatTemplate("qwen3", "qwen3", _ENABLE, "on", THINK_HERMES),
    ChatTemplate(
        "gpt-oss", "gpt-oss",
        {"on": {"reasoning_effort": "medium"}, "low": {"reasoning_effort": "low"},
         "high": {"reasoning_effort": "high"}},
        "on", HARMONY, note="it always reasons, on is medium; stop at <|call|> and <|return|>; no built-in tools",
    ),
    ChatTemplate(
        "deepseek-v3.1", "deepseek-v3.1", {"on": {"thinking": True}, "off": {"thinking": False}}, "off",
        DEEPSEEK_TOKENS, note="after a tool's result the answer goes on without thinking, as in the published template",
    ),
    ChatTemplate("gemma-3", "gemma-3", note="no reasoning and no tool format of its own"),
)}
