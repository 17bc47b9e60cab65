"""The built-in model's folder: built from the sample corpus on first use, then reused."""

from __future__ import annotations

import importlib.resources
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

from harness import digests, files
from harness.engine import sample_model

CORPUS = "harness_tasks:corpus"


def sample_checkpoint(home: Path) -> Path:
    """The folder of the built-in model below ``home``; its name changes with the corpus and the builder.

    Raises:
        OutputError: The folder cannot be written.
    """
    package, _, name = CORPUS.partition(":")
    corpus = Path(str(importlib.resources.files(package))) / name
    made_from = [digests.of_file(path) for path in sorted(corpus.glob("*.tsv"))]
    made_from.append(digests.of_file(Path(sample_model.__file__)))
    folder = home / "models" / f"sample-{digests.of_value(made_from)}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _build(corpus, folder)
    except OSError as error:
        raise files.output_error(folder, error) from error
    return folder


def _build(corpus: Path, folder: Path) -> None:
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        sample_model.build_sample_model(corpus, draft)
        draft.chmod(0o755)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
