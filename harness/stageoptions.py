"""The options of ``harness train`` to stages. Parses text; knows no data and no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from harness.errors import UsageError
from harness.stages import MaskedShare, Sampler, SamplerKind, Stage, Translated
from harness.teaching import parse_hyper, parse_set, put_once

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """What the user gave, as text, None or empty for nothing; see ``harness train --help`` for the meaning of each."""

    tasks: Sequence[str]
    schedule: Literal["multitask", "sequential"] = "multitask"
    sampler: SamplerKind | None = None
    temperature: float | None = None
    cap: int | None = None
    shares: Sequence[str] = ()
    mlm_share: float = 0.0
    mlm_tasks: Sequence[str] = ()
    mlm_languages: Sequence[str] = ()
    mlm_alpha: float | None = None
    train_size: Sequence[str] = ()
    translated: Sequence[str] = ()
    train_from: Sequence[str] = ()
    hyper: Sequence[str] = ()
    apart: Sequence[str] = ()
    changes: Sequence[str] = ()


def stages_of(options: StageOptions) -> tuple[Stage, ...]:
    """One stage with all tasks, or one for each in the given order.

    Raises:
        UsageError: An option is not of its form, names a task that is not learned, or would change nothing.
    """
    tasks = _several(options.tasks)
    if not tasks:
        raise UsageError("no task is given; --tasks names what is learned")
    blank = next((text for text in options.apart if not _several([text])), None)
    if blank is not None:
        raise UsageError(f"--apart '{blank}': name tasks or suites, e.g. xtreme")
    masked = _masked(options)
    known = (*tasks, *(masked.tasks if masked.share else ()))
    sizes = _by_task("train-size", options.train_size, known, str)
    translated = _by_task("translated", options.translated, known, _translated)
    train_from = _by_task("train-from", options.train_from, known, str)
    hyper = parse_hyper(options.hyper, known)
    settings = parse_set(options.changes, known)
    groups = [tasks] if options.schedule == "multitask" else [(task,) for task in tasks]
    mine = {"", *masked.tasks} if masked.share else {""}
    stages = tuple(
        Stage(
            tasks=group,
            sampler=_sampler(options, group),
            masked=masked,
            sizes=_of(sizes, {*mine, *group}),
            translated=_of(translated, {*mine, *group}),
            hyper=_of(hyper, {*mine, *group}),
            train_from=_of(train_from, {*mine, *group}),
            apart=_several(options.apart),
            settings=_of(settings, {*mine, *group}),
        )
        for group in groups
    )
    _check_sampling(options, tasks)
    return stages


def _masked(options: StageOptions) -> MaskedShare:
    if options.mlm_tasks and not options.mlm_share:
        raise UsageError("--mlm-tasks goes with --mlm-share only; without it nothing is mixed in")
    default = MaskedShare()
    return MaskedShare(
        share=options.mlm_share,
        tasks=_several(options.mlm_tasks) if options.mlm_tasks else default.tasks,
        languages=_several(options.mlm_languages),
        alpha=default.alpha if options.mlm_alpha is None else options.mlm_alpha,
    )


def _check_sampling(options: StageOptions, tasks: Sequence[str]) -> None:
    """Refuse what says how tasks are drawn where there is nothing to draw, or nothing is said; raises UsageError."""
    given = {
        "sampler": options.sampler,
        "temperature": options.temperature,
        "cap": options.cap,
        "share": options.shares or None,
    }
    named = next((name for name, value in given.items() if value is not None), None)
    if named and (options.schedule == "sequential" or len(tasks) == 1):
        raise UsageError(
            f"--{named} goes with several tasks learned at once only (--schedule multitask); leave it out"
        )
    if options.sampler == "temperature" and options.temperature is None:
        raise UsageError("--sampler temperature needs --temperature, 1 (proportional) or more")
    if options.temperature is not None and options.sampler != "temperature":
        raise UsageError("--temperature goes with --sampler temperature only")


def _sampler(options: StageOptions, group: Sequence[str]) -> Sampler:
    tasks = _several(options.tasks)
    shares = _by_task("share", options.shares, tasks, _share, every=False)
    if shares and options.schedule == "sequential":
        raise UsageError(
            "--share belongs to --schedule multitask; one after the other, each task has its own steps"
        )
    if shares and options.sampler not in (None, "proportional", "fixed"):
        raise UsageError(f"--share and --sampler {options.sampler} exclude each other")
    return Sampler(
        kind="fixed" if shares else options.sampler or "proportional",
        temperature=1.0 if options.temperature is None else options.temperature,
        cap=options.cap,
        shares=shares,
    )


def _several(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _of(values: Mapping[str, Value], tasks: set[str]) -> dict[str, Value]:
    return {task: value for task, value in values.items() if task in tasks}


def _by_task(
    option: str,
    texts: Sequence[str],
    tasks: Sequence[str],
    read: Callable[[str], Value],
    *,
    every: bool = True,
) -> dict[str, Value]:
    """``[TASK=]VALUE`` by task, ``""`` for every one."""
    found: dict[str, Value] = {}
    for text in texts:
        task, equals, value = text.rpartition("=")
        if equals and task not in tasks:
            raise UsageError(f"--{option} {text}: task '{task}' is not learned; there are {', '.join(tasks)}")
        if not value or not (equals or every):
            raise UsageError(f"--{option} {text}: give TASK=VALUE")
        try:
            read_value = read(value)
        except ValueError as error:
            raise UsageError(f"--{option} {text}: {error}") from error
        put_once(found, task, read_value, option=option)
    return found


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError("a share is a number above 0")
    return value


def _translated(text: str) -> Translated:
    languages, _, share = text.partition(":")
    return Translated(languages=_several([languages]), share=float(share) if share else 0.5)
