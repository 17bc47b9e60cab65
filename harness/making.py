"""The model that a value of ``--model`` names, made first where it does not exist yet. Knows catalog, data and cache."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness import checkpoints, digests, sources
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint
from harness.curriculum import Taught
from harness.errors import DataError, UsageError
from harness.formats.texts import Texts
from harness.home import home
from harness.newmodels import PREFIX, NewModel, is_new, new_model
from harness.selection import tasks_of
from harness.sources import DataLocation
from harness.spec import TaskSpec
from harness.taughtsets import TaughtSets
from harness.workplace import checkpoint_of


def model_of(
    name: str,
    catalog: Catalog,
    location: DataLocation,
    *,
    revision: str | None = None,
    offline: bool = False,
) -> Checkpoint:
    """The checkpoint of a folder, a hub id, a built-in model, or of an encoder that is made from texts of the data.

    Raises:
        DataError: The texts of a new encoder are not to be had, or too few.
        ModelError: There is no such model.
        OutputError: The cache cannot be written.
        UsageError: A new encoder's text is not of its form, or a revision is asked of it.
    """
    if not is_new(name):
        return checkpoint_of(name, revision=revision, offline=offline)
    wanted = new_model(name)
    if revision is not None:
        raise UsageError(
            f"--model-revision {revision}: {wanted} is made here and has no revisions; leave it out"
        )
    folder = _folder(wanted, catalog, location)
    return replace(checkpoints.open_checkpoint(str(folder)), name=str(wanted))


def _folder(model: NewModel, catalog: Catalog, location: DataLocation) -> Path:
    """Where the encoder lies; its name changes with its texts, its sizes and the builder."""
    from harness.engine import new_model as builder
    from harness.engine.sample import made_once

    texts = _texts(model, catalog, location)
    lines = [line for code in sorted(texts) for line in (code, *texts[code])]
    made_from = [str(model), digests.of_lines(lines), digests.of_file(Path(inspect.getfile(builder)))]
    folder = home() / "models" / f"new-{digests.of_value(made_from)}"
    return made_once(folder, partial(builder.build_new_model, model, texts))


def _texts(model: NewModel, catalog: Catalog, location: DataLocation) -> Mapping[str, Sequence[str]]:
    """What the tokenizer is learned from, by language, without what is evaluated."""
    known = [name for name, task in catalog.tasks.items() if task.format.name == Texts.name]
    if model.text not in known:
        raise UsageError(
            f"{PREFIX}text={model.text}: no masked-LM task, whose plain text could be learned from; there are "
            f"{', '.join(sorted(known))}"
        )
    task = catalog.task(model.text)
    there = [code for code in task.languages if sources.has_split(task, code, "train", location)]
    gone = [code for code in model.languages if code not in there]
    if gone or not there:
        told = ", ".join(there) or "none"
        raise DataError(
            f"{model}: {task.name}/train has no text for {', '.join(gone) or 'any language'}; there is {told}"
        )
    apart = _apart(model, catalog)
    sets, wanted = TaughtSets(location=location), model.languages or tuple(there)
    taught = {code: Taught(task=task, split="train", languages=(code,), apart=apart) for code in wanted}
    return {
        code: [text for example in sets.examples(one) for text in task.format.texts(example)]
        for code, one in taught.items()
    }


def _apart(model: NewModel, catalog: Catalog) -> tuple[TaskSpec, ...]:
    """Tasks of which no evaluated text is learned from; raises UsageError."""
    if not model.apart:
        return ()
    try:
        return tuple(map(catalog.task, sorted(tasks_of(catalog, model.apart))))
    except UsageError as error:
        raise UsageError(f"{PREFIX}apart={'+'.join(model.apart)}: {error}") from error
