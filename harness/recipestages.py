"""The part of a recipe's file that says how a stage is trained, from YAML to :class:`harness.stages.Stage`.

Knows the keys of a stage and what they may hold; knows no experiment. Whatever can be said of one task or of all is
written in one way: a value for all of them, or a mapping from task to value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from harness import languages, teaching
from harness.stages import SAMPLERS, MaskedShare, Sampler, SamplerKind, Stage, Translated
from harness.yamlnodes import Value, described, distinct, entries, number, one_or_more, text, unknown, whole

SAMPLER_KEYS = ("sampler", "temperature", "cap", "shares")
STAGE_KEYS = (*SAMPLER_KEYS, "mlm", "sizes", "translated", "hyper", "train_from", "apart", "set")
_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageKeys:
    """What one place of a file says of stages: the file's defaults or a single entry. None or empty: nothing.

    Attributes are those of :class:`harness.stages.Stage`.
    """

    sampler: Sampler | None = None
    masked: MaskedShare | None = None
    sizes: Mapping[str, str] = field(default_factory=dict)
    translated: Mapping[str, Translated] = field(default_factory=dict)
    hyper: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    train_from: Mapping[str, str] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_stage_keys(
    found: Mapping[str, Value], tasks: Collection[str] | None, default: StageKeys | None = None
) -> StageKeys:
    """Reads the keys of :data:`STAGE_KEYS` among others.

    Args:
        found: An entry of a recipe, by key.
        tasks: Which may be named, besides those of masked LM; None for any.
        default: Whose masked-LM tasks may be named too.

    Raises:
        UsageError: A value that is not allowed, with its place.
    """
    masked = read_masked(found["mlm"]) if "mlm" in found else None
    named = masked or (default.masked if default else None)
    known = None if tasks is None else (*tasks, *(named.tasks if named else ()))
    return StageKeys(
        sampler=_sampler(found, tasks),
        masked=masked,
        sizes=_of_tasks(found.get("sizes"), known, read_size),
        translated=_of_tasks(found.get("translated"), known, _translated, own=("languages", "share")),
        hyper=read_hyper(found["hyper"], known) if "hyper" in found else {},
        train_from=_of_tasks(found.get("train_from"), known, read_train_from),
        apart=_names(found["apart"]) if "apart" in found else (),
        settings=_settings(found["set"], known) if "set" in found else {},
    )


def make_stage(tasks: tuple[str, ...], default: StageKeys, own: StageKeys) -> Stage:
    """A stage from the file's defaults and its own keys, which win; what is said of other tasks is left out."""
    masked = own.masked or default.masked or MaskedShare()
    here = {"", *tasks, *(masked.tasks if masked.share else ())}
    return Stage(
        tasks=tasks,
        sampler=own.sampler or (default.sampler if len(tasks) > 1 else None) or Sampler(),
        masked=masked,
        sizes=_joined(default.sizes, own.sizes, here),
        translated=_joined(default.translated, own.translated, here),
        hyper=_merged(default.hyper, own.hyper, here),
        train_from=_joined(default.train_from, own.train_from, here),
        apart=own.apart or default.apart,
        settings=_merged(default.settings, own.settings, here),
    )


def _merged(
    default: Mapping[str, Mapping[str, str]], own: Mapping[str, Mapping[str, str]], here: set[str]
) -> dict[str, dict[str, str]]:
    """What is said of each task, value by value; own values win."""
    named = [task for task in dict.fromkeys([*default, *own]) if task in here]
    return {task: {**default.get(task, {}), **own.get(task, {})} for task in named}


def _joined(default: Mapping[str, _Part], own: Mapping[str, _Part], here: set[str]) -> dict[str, _Part]:
    """An own value for every task silences what the defaults say of single ones."""
    kept = {} if "" in own else default
    return {task: part for task, part in {**kept, **own}.items() if task in here}


def _sampler(found: Mapping[str, Value], tasks: Collection[str] | None) -> Sampler | None:
    given = {key: found[key] for key in SAMPLER_KEYS if key in found}
    if not given:
        return None
    implied = "fixed" if "shares" in given else "temperature" if "temperature" in given else "proportional"
    named = text(given["sampler"]) if "sampler" in given else implied
    by_name: dict[str, SamplerKind] = {known: known for known in SAMPLERS}
    kind = by_name.get(named)
    if kind is None:
        raise given["sampler"].error(unknown("sampler", named, SAMPLERS))
    belongs = {"temperature": ("temperature",), "cap": ("proportional", "temperature"), "shares": ("fixed",)}
    for key, kinds in belongs.items():
        if key in given and kind not in kinds:
            raise given[key].error(
                f"found '{key}' beside the sampler '{kind}'; it belongs to {' or '.join(kinds)}"
            )
        if key == kind and key not in given:
            raise given["sampler"].error(f"the sampler '{kind}' needs the key '{key}'")
    if kind == "fixed" and "shares" not in given:
        raise given["sampler"].error("the sampler 'fixed' needs the key 'shares'")
    with given.get(kind, list(given.values())[-1]).placed():
        return Sampler(
            kind=kind,
            temperature=number(given["temperature"]) if "temperature" in given else 1.0,
            cap=whole(given["cap"], least=1) if "cap" in given else None,
            shares=_shares(given["shares"], tasks) if "shares" in given else {},
        )


def _shares(value: Value, tasks: Collection[str] | None) -> dict[str, float]:
    if tasks is None:
        raise value.error("shares belong to one entry of settings, not to the defaults")
    found = {task: number(share) for task, share in entries(value, tasks).items()}
    missing = [task for task in tasks if task not in found]
    if missing:
        raise value.error(f"no share is given for {', '.join(missing)}; each task of the stage needs one")
    return found


def read_masked(value: Value) -> MaskedShare:
    """``0.2`` or ``{share:, tasks:, languages:, alpha:}``; raises UsageError."""
    if value.kind == "scalar":
        with value.placed():
            return MaskedShare(share=number(value))
    found = entries(value, ("share", "tasks", "languages", "alpha"))
    if "share" not in found:
        raise value.error("the key 'share' is missing: the masked-LM steps among all, e.g. 0.2")
    default = MaskedShare()
    tasks = _names(found["tasks"]) if "tasks" in found else default.tasks
    codes = read_languages(found["languages"]) if "languages" in found else default.languages
    alpha = number(found["alpha"]) if "alpha" in found else default.alpha
    with value.placed():
        return MaskedShare(share=number(found["share"]), tasks=tasks, languages=codes, alpha=alpha)


def _translated(value: Value) -> Translated:
    found = entries(value, ("languages", "share"))
    if "languages" not in found:
        raise value.error("the key 'languages' is missing: into which the training set was translated")
    codes = read_languages(found["languages"])
    share = number(found["share"]) if "share" in found else 0.5
    with value.placed():
        return Translated(languages=codes, share=share)


def _names(value: Value) -> tuple[str, ...]:
    return tuple(text(item) for item in distinct(one_or_more(value)))


def read_languages(value: Value, *words: str) -> tuple[str, ...]:
    """Language codes, as the harness writes them, each once; ``words`` may stand among them. Raises UsageError."""
    found: dict[str, Value] = {}
    for item in one_or_more(value):
        with item.placed():
            code = text(item) if text(item) in words else languages.canonical(text(item))
        if code in found:
            raise item.error(f"language '{code}' is given twice, before on line {found[code].line}")
        found[code] = item
    return tuple(found)


def read_size(value: Value) -> str:
    """``10%``, ``0.1`` or ``500`` (examples), shares brought to per cent; raises UsageError."""
    found = text(value) if value.kind == "scalar" else ""
    if re.fullmatch(r"[1-9][0-9]{0,11}", found):
        return found
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%|([01]?\.[0-9]{1,9})", found)
    per_cent = Decimal(match[1] or 0) + 100 * Decimal(match[2] or 0) if match else Decimal(0)
    if not 0 < per_cent <= 100:
        raise value.error(
            f"found {described(value)}, needed is a share such as 10% or 0.1, above 0 and at most 100%, "
            "or a number of examples"
        )
    return f"{per_cent.normalize():f}%"


def share_of(size: str) -> str:
    """A size as it stands on an axis: a share as a fraction, a number of examples as it is.

    >>> share_of("10%"), share_of("100%"), share_of("500")
    ('0.1', '1', '500')
    """
    return f"{(Decimal(size[:-1]) / 100).normalize():f}" if size.endswith("%") else size


def read_train_from(value: Value) -> str:
    """``[OTHER/]SPLIT[:RANGE]``; raises UsageError."""
    found = text(value)
    if "=" in found:
        raise value.error(f"found '{found}', write it as a mapping from task to [OTHER/]SPLIT[:RANGE]")
    with value.placed():
        teaching.parse_train_from([found], ())
    return found


def read_hyper(value: Value, tasks: Collection[str] | None) -> dict[str, dict[str, str]]:
    """``{NAME: value}`` for every task, ``{TASK: {NAME: value}}`` for one, or both; raises UsageError."""
    found: dict[str, dict[str, str]] = {}
    for key, inner in entries(value).items():
        if inner.kind == "mapping":
            _check_task(key, inner, tasks)
        for name, leaf in entries(inner).items() if inner.kind == "mapping" else [(key, inner)]:
            changed = text(leaf)
            with leaf.placed():
                teaching.parse_hyper([f"{name}={changed}"], ())
            found.setdefault(key if inner.kind == "mapping" else "", {})[name] = changed
    return found


def _settings(value: Value, tasks: Collection[str] | None) -> dict[str, dict[str, str]]:
    """``{TASK: {SETTING: value}}``; raises UsageError."""
    found = entries(value)
    for name, inner in found.items():
        _check_task(name, inner, tasks)
    given = {name: {key: text(leaf) for key, leaf in entries(inner).items()} for name, inner in found.items()}
    return {name: settings for name, settings in given.items() if settings}


def _check_task(name: str, value: Value, tasks: Collection[str] | None) -> None:
    if tasks is not None and name not in tasks:
        raise value.error(unknown("task", name, tasks))


def _of_tasks(
    value: Value | None,
    tasks: Collection[str] | None,
    read: Callable[[Value], _Part],
    *,
    own: Collection[str] = (),
) -> dict[str, _Part]:
    """A value for every task (then under ``""``), or a mapping from task to value.

    Args:
        value: None for nothing said.
        tasks: Which may be named, None for any.
        read: Reads one value.
        own: The keys of one value, where that is a mapping itself.
    """
    if value is None:
        return {}
    if value.kind != "mapping" or set(entries(value)) & set(own):
        return {"": read(value)}
    found = entries(value)
    for name, inner in found.items():
        _check_task(name, inner, tasks)
    return {name: read(inner) for name, inner in found.items()}


def per_task(value: Value, read: Callable[[Value], str]) -> tuple[str, ...]:
    """The same for the targets, as the command line writes it: ``VALUE`` and ``TASK=VALUE``; raises UsageError."""
    return tuple(f"{task}={part}" if task else part for task, part in _of_tasks(value, None, read).items())
