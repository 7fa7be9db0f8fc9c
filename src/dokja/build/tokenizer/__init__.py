"""Byte-level BPE: a small one for each team of a season, and one for a model that is to last."""

from .plain import train_tokenizer

__all__ = ["train_tokenizer"]
