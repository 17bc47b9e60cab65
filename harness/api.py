"""What the command line and Python share: a request is planned, carried out and written up.

Knows the steps of one evaluation; prints nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from harness import report
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint
from harness.engine import headed, load
from harness.engine.session import Sessions
from harness.errors import DataError
from harness.making import model_of
from harness.manifest import Manifest
from harness.models import models_of_tasks
from harness.pipeline import Outcome, Road, follow, pending_units
from harness.place import Interrupted
from harness.plan import Plan
from harness.planning import Settings, make_plan
from harness.progress import Listener, Silent
from harness.registry import load_catalog
from harness.request import Options, Prepared, Request
from harness.run import Run, RunWriter, open_run
from harness.selection import Selected, changes, select
from harness.sources import DataLocation
from harness.teaching import Teaching, parse_head_labels, parse_hyper, parse_train_from
from harness.unused import check_settings
from harness.wording import listed
from harness.workplace import compute_of


def evaluate(
    *,
    model: Sequence[str] | str | Path,
    tasks: Sequence[str] | str,
    plugins: Sequence[str] = (),
    **options: Unpack[Options],
) -> Run:
    """Evaluate a model and return the run, as ``harness eval`` does.

    Args:
        model: A folder, a hub id or ``sample``; several as ``task=model``.
        tasks: Task names, suite names or globs.
        plugins: Modules or files to load besides the installed plugins.
        options: The other options of ``harness eval``, by name.

    Raises:
        HarnessError: Nothing could be computed. Single units that fail are in ``run.failures``.
    """
    plain: dict[str, Any] = {
        "model": _several(str(model) if isinstance(model, Path) else model),
        "tasks": _several(tasks),
        **options,
    }
    for name in ("languages", "split", "changes", "train_from", "hyper", "head_labels"):
        plain[name] = _several(options.get(name, ()))
    for name, kind in (("output", Path), ("layer", str)):
        if plain.get(name) is not None:
            plain[name] = kind(plain[name])
    request = Request(**plain)
    catalog = load_catalog(plugins)
    return carry_out(prepare(request, catalog), catalog)


def _several(value: object) -> tuple[str, ...]:
    """One string or several, as several."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()


def prepare(request: Request, catalog: Catalog, checkpoint: Checkpoint | None = None) -> Prepared:
    """Plan a request: resolve names, open the checkpoint's folder, read the data.

    Args:
        request: What is asked for.
        catalog: The plugins.
        checkpoint: The model of every task, where it is at hand already; ``request.model`` then does not count.

    Raises:
        HarnessError: The request cannot be met at all.
    """
    location = DataLocation.parse(request.data, offline=request.offline)
    selected = select(catalog, request.tasks, request.languages, request.split, location)
    compute = compute_of(
        device=request.device,
        dtype=request.dtype,
        batch_tokens=request.batch_tokens,
        gradient_checkpointing=request.gradient_checkpointing,
        deterministic=request.deterministic,
    )
    settings = _settings(request, selected, compute.dtype)
    # A recipe's cells bring their checkpoint; what it says of all targets need not concern each.
    if checkpoint is None:
        check_settings(settings, selected)
    names = [entry.task.name for entry in selected]
    find = partial(
        model_of,
        catalog=catalog,
        location=location,
        revision=request.revision,
        offline=request.offline,
    )
    models = dict.fromkeys(names, checkpoint) if checkpoint else models_of_tasks(request.model, names, find)
    plan = make_plan(
        catalog,
        models,
        selected,
        location,
        settings,
        dtype=compute.dtype,
        device=compute.device,
        limit=request.limit,
        fail_fast=request.fail_fast,
    )
    _check(plan)
    request = replace(request, device=compute.device, dtype=compute.dtype)
    return Prepared(
        request=request,
        plan=plan,
        selected=selected,
        folder=plan.folder(request.output),
        compute=compute,
    )


def _settings(request: Request, selected: Sequence[Selected], dtype: str) -> Settings:
    """What the user overrides; raises UsageError."""
    names = [entry.task.name for entry in selected]
    return Settings(
        protocol=request.protocol,
        layer=request.layer,
        pooling=request.pooling,
        special_tokens=request.special_tokens,
        max_length=request.max_length,
        changes=changes(selected, request.changes),
        strict=request.deterministic,
        teaching=Teaching(
            allowed=request.train,
            seeds=tuple(request.seeds),
            sets=parse_train_from(request.train_from, names),
            hyper=parse_hyper(request.hyper, names),
            head_labels=parse_head_labels(request.head_labels, names),
            dtype=dtype,
        ),
    )


def _check(plan: Plan) -> None:
    """Find out that nothing of a plan can be read, or that a head it relies on is not whole; raises HarnessError."""
    errors = [unit.error for unit in plan.units if unit.error]
    if len(errors) == len(plan.units):
        others = listed([unit.name for unit in plan.units[1:]], "unit")
        raise DataError(errors[0] + (f" (likewise {others})" if others else ""))
    for unit in plan.units:
        if unit.phase is None and not unit.spaces and not unit.error:
            headed.check_head(unit.checkpoint, unit.task.format.head)


def carry_out(prepared: Prepared, catalog: Catalog, listener: Listener | None = None) -> Run:
    """Compute what is missing, write everything, return the run.

    Of several processes the first one writes and tells; the others compute their part and return when it is done.

    Raises:
        HarnessError: The folder cannot be used, or with ``fail_fast`` the first failure.
        KeyboardInterrupt: Passed on after ``run.json`` says so; what was done is kept.
    """
    request, plan = prepared.request, prepared.plan
    listener, ranks = listener or Silent(), prepared.compute.ranks
    ranks.agree("plan", [plan.run, [[unit.name, unit.data, unit.error] for unit in plan.units]])
    if request.deterministic:
        load.be_deterministic()
    if not ranks.first:
        return _followed(prepared, catalog)
    with RunWriter(prepared.folder, plan.identity, plan.run, request.overwrite) as writer:
        pending = ranks.from_first(
            lambda: pending_units(plan, catalog, writer, again=request.overwrite == "always")
        )
        writer.count(
            {(unit.task.name, unit.split): unit.main_number for unit in plan.units if not unit.error}
        )
        listener.planned(plan, len(pending))
        book = Manifest(prepared=prepared, catalog=catalog, writer=writer, started=time.time())
        outcome = Outcome(failures={unit.key: unit.error for unit in plan.units if unit.error})
        for unit in plan.units:
            if unit.error:
                listener.failed(unit, unit.error)
        book.write("running", outcome)
        sessions = Sessions(
            plan=plan,
            compute=prepared.compute,
        )
        road = Road(
            plan=plan,
            catalog=catalog,
            writer=writer,
            sessions=sessions,
            listener=listener,
            fail_fast=request.fail_fast,
        )
        try:
            if pending:
                ranks.each(lambda: _open_single(plan, sessions, pending))
            road.compute(pending, outcome)
        except (KeyboardInterrupt, Interrupted):
            book.write("interrupted", outcome)
            raise
        except BaseException:
            book.write("failed", outcome)
            raise
        book.write("partial" if outcome.failures else "complete", outcome)
        run = open_run(prepared.folder)
        report.write(run, catalog.suites)
        ranks.from_first(lambda: None)
        return run


def _followed(prepared: Prepared, catalog: Catalog) -> Run:
    """Take part in a run that the first process writes."""
    plan, ranks = prepared.plan, prepared.compute.ranks
    pending: list[int] = ranks.from_first(list)
    sessions = Sessions(plan=plan, compute=prepared.compute)
    if pending:
        ranks.each(lambda: _open_single(plan, sessions, pending))
    follow(plan, catalog, sessions, pending)
    ranks.from_first(lambda: None)
    return open_run(prepared.folder)


def _open_single(plan: Plan, sessions: Sessions, pending: Sequence[int]) -> None:
    """Find out at once that the one model of a run cannot be opened, where its vectors are wanted; raises ModelError."""
    if len(plan.checkpoints) == 1 and any(plan.units[number].spaces for number in pending):
        sessions.of(plan.checkpoints[0]).open()
