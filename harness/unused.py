"""Refuses options that nothing of what is selected looks at, so that nobody believes they did something.

Knows what formats need. A recipe says some things of many stages and targets at once, so it is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.catalog import Catalog
from harness.errors import UsageError
from harness.formats.drawn import DrawnFormat
from harness.planning import Settings
from harness.selection import Selected
from harness.stageoptions import StageOptions
from harness.stages import Stage
from harness.teaching import Teaching


def check_stage_options(options: StageOptions, stages: Sequence[Stage], catalog: Catalog) -> None:
    """What concerns texts in many languages goes with tasks that learn from such, alone or mixed in.

    Raises:
        UnknownNameError: A task that no plugin gives.
        UsageError: None of them is learned.
    """
    given = {
        "apart": options.apart,
        "mlm-languages": options.mlm_languages,
        "mlm-alpha": options.mlm_alpha is not None,
    }
    named = next((name for name, value in given.items() if value), None)
    mixed = [name for stage in stages if stage.masked.share for name in stage.masked.tasks]
    learned = [catalog.task(name) for name in (*(name for stage in stages for name in stage.tasks), *mixed)]
    if named and not any(isinstance(task.format, DrawnFormat) for task in learned):
        known = [task.name for task in catalog.tasks.values() if isinstance(task.format, DrawnFormat)]
        raise UsageError(
            f"--{named} goes with tasks of texts in many languages only ({', '.join(sorted(known))}), and "
            f"{', '.join(task.name for task in learned)} learns from none; name one with --tasks, mix masked LM in with "
            f"--mlm-share, or leave --{named} out"
        )


def check_settings(settings: Settings, selected: Sequence[Selected]) -> None:
    """What concerns heads goes with tasks that have one, what concerns vectors with those that have none; raises UsageError."""
    heads = [entry.task.name for entry in selected if entry.task.format.head.kind != "none"]
    vectors = [entry.task.name for entry in selected if entry.task.format.head.kind == "none"]
    _check_teaching(settings.teaching, heads, vectors)
    named = _first(
        layer=settings.layer, pooling=settings.pooling, skip_special_tokens=not settings.special_tokens
    )
    if named and not vectors:
        raise UsageError(
            f"--{named} goes with tasks that compare vectors only; {', '.join(heads)} are answered by a head; leave "
            f"--{named} out"
        )


def _check_teaching(teaching: Teaching, heads: Sequence[str], vectors: Sequence[str]) -> None:
    said = {"train-from": teaching.sets, "hyper": teaching.hyper, "head-labels": teaching.head_labels}
    seeds = teaching.seeds != Teaching().seeds
    named = next((option for option, by_task in said.items() if by_task), "seeds" if seeds else None)
    if named and not heads:
        raise UsageError(
            f"--{named} goes with tasks that have a head only; vectors are compared for {', '.join(vectors)}, and nothing is "
            f"trained; leave --{named} out"
        )
    for option, by_task in said.items():
        odd = next((task for task in by_task if task in vectors), None)
        if odd:
            raise UsageError(
                f"--{option} for task '{odd}': it only compares vectors, and no head is trained for it; leave it out"
            )


def _first(**given: object) -> str | None:
    """The first option that was given."""
    return next((name.replace("_", "-") for name, value in given.items() if value), None)
