"""Text for training: the sampled corpus of a season (`sampled`), and the pipeline that a recipe describes."""

from .sampled import Corpus, build_corpus, open_corpus

__all__ = ["Corpus", "build_corpus", "open_corpus"]
