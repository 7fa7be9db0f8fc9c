"""Published models by their name on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import DokjaError

# Weights in safetensors and the small files beside them: no pickles, no copies in other formats.
_PATTERNS = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.py", "LICENSE*", "NOTICE*")


def is_repository(name: str) -> bool:
    """Whether a text can be owner/name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name) is not None


def download(repository: str) -> Path:
    """The folder of a repository's files, downloaded where the hub's own cache has no copy.

    Without huggingface_hub, without a network or for a repository that is not there, DokjaError says so.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DokjaError(f"{repository} must be downloaded, which needs huggingface_hub: pip install 'dokja[hub]', or "
                         "give a folder") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=list(_PATTERNS)))
    except Exception as error:  # network errors of several libraries
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DokjaError(f"{repository} cannot be downloaded from the Hugging Face hub ({reason}): give the path of a "
                         "folder, or try again where the hub can be reached") from error
