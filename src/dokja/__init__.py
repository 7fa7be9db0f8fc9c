"""Dokja (독자, "independent"): build a foundation model, prove it is your own, judge it, serve it."""

__version__ = "0.1.0"
