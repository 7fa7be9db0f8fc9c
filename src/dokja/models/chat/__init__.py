"""Conversations as text: chat templates, the reasoning switch, and a model's answer split into its parts."""

from .calls import ToolCall
from .parser import Content, Delta, Markup, Parsed, Reasoning, StreamParser, parse
from .syntax import Syntax
from .template import ChatTemplate, render, render_pieces

__all__ = [
    "ChatTemplate", "Content", "Delta", "Markup", "Parsed", "Reasoning", "StreamParser", "Syntax", "ToolCall", "parse",
    "render", "render_pieces",
]
