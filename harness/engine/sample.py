"""The built-in models' folders: built from the sample corpus on first use, then reused."""

from __future__ import annotations

import importlib.resources
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from filelock import FileLock

from harness import digests, files
from harness.builtin import NAMES, SAMPLE
from harness.engine import sample_families, sample_model
from harness.errors import ModelError
from harness.home import ADVICE

CORPUS = "harness_tasks:corpus"


def sample_checkpoint(home: Path, name: str = SAMPLE) -> Path:
    """The folder of a built-in model below ``home``; its name changes with the corpus and the builder.

    Args:
        home: The cache.
        name: One of :data:`harness.builtin.NAMES`.

    Raises:
        ModelError: There is no such model.
        OutputError: The folder cannot be written.
    """
    if name not in NAMES:
        raise ModelError(
            f"no built-in model '{name}', and no model folder of that name; there are {', '.join(NAMES)}"
        )
    if name == SAMPLE:
        return _sample(home)
    sample = _sample(home)
    made_from = [sample.name, *map(_source, (sample_families, sample_model))]
    folder = sample.with_name(f"{name}-{digests.of_value(made_from)}")
    return made_once(folder, partial(sample_families.build_sample_family, name, sample))


def _sample(home: Path) -> Path:
    package, _, name = CORPUS.partition(":")
    corpus = Path(str(importlib.resources.files(package))) / name
    made_from = [digests.of_file(path) for path in sorted(corpus.glob("*.tsv"))]
    made_from.append(_source(sample_model))
    folder = home / "models" / f"{SAMPLE}-{digests.of_value(made_from)}"
    return made_once(folder, partial(sample_model.build_sample_model, corpus))


def _source(module: object) -> str:
    return digests.of_file(Path(str(getattr(module, "__file__", ""))))


def made_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """The folder, built by one process if it is not there; it appears whole. Raises OutputError."""
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _build(folder, build)
    except OSError as error:
        raise files.output_error(folder, error, ADVICE) from error
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        build(draft)
        draft.chmod(0o755)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
