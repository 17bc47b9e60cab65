"""Snapshots of hub repositories. Knows the hub's client and its environment; knows no data set and no model.

``huggingface_hub`` is imported only when a snapshot is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

# Multilingual encoders whose names papers still write as the hub did before every repository had an owner.
_OWNERS = {
    "bert-base-multilingual-cased": "google-bert",
    "bert-base-multilingual-uncased": "google-bert",
    "distilbert-base-multilingual-cased": "distilbert",
    "xlm-roberta-base": "FacebookAI",
    "xlm-roberta-large": "FacebookAI",
}


def model_repository(name: str) -> str | None:
    """The repository of a model's name, ``owner/name`` or an old name of a multilingual encoder; None for any other.

    >>> model_repository("xlm-roberta-base"), model_repository("ckpt")
    ('FacebookAI/xlm-roberta-base', None)
    """
    if name in _OWNERS:
        return f"{_OWNERS[name]}/{name}"
    return name if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) else None


class NotToBeHadError(Exception):
    """A repository is not cached and cannot be fetched; the cause's name is the message."""


def snapshot(
    repository: str,
    *,
    kind: Literal["dataset", "model"],
    revision: str | None,
    patterns: Sequence[str],
    offline: bool,
) -> Path:
    """The local folder of a repository, fetched first where that is allowed. ``HF_HUB_OFFLINE`` forbids it too.

    Raises:
        NotToBeHadError: It is not cached and cannot be fetched.
    """
    import huggingface_hub
    from huggingface_hub.utils import logging

    # The client's retries would be told line by line; what counts is said once, by whoever asked.
    client_logging: Any = logging
    client_logging.set_verbosity_error()
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            repo_type=kind,
            revision=revision,
            allow_patterns=list(patterns),
            local_files_only=offline
            or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "ON", "YES"),
        )
    # The client raises OSError, ValueError and its own HTTP errors for one and the same thing.
    except Exception as error:
        raise NotToBeHadError(type(error).__name__) from error
    return Path(folder)
