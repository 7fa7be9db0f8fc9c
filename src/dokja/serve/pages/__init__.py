"""The web pages: chat and season board, in Korean and English."""

from .site import add_pages

__all__ = ["add_pages"]
