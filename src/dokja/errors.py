"""The one exception that a user is meant to see."""

from __future__ import annotations


class DokjaError(Exception):
    """What was wrong, where, and what to do about it, in one sentence.

    The command line prints the sentence and ends with exit code 2; a server answers with it. Anything else that is
    raised is a defect of ours and keeps its traceback.
    """
