"""Seconds and peak memory of a whole run with a head as its set grows: blocks keep it low, beside all of a unit at once.

    python benchmarks/longsets.py [--tasks xnli,panx] [--counts 10000,30000,100000] [--ways blocks,once]

Made-up sentences over the sample's vocabulary in XTREME's layout, the built-in model with a head trained in two steps, one
process for each count and way. ``planned`` is the peak when the plan stands: all examples were read by then, to be counted and
hashed; the peak beside it is that of the whole run, with predictions written and scored. ``once`` puts the block's size above
the set's, so that a unit's tokens and predictions are in memory together.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import sidebyside
from memory import WORDS, named
from sidebyside import Case, Goal, Json, Ready, Row, compared, in_turn, tell

import harness
from harness import grouping
from harness.api import carry_out
from harness.api import prepare as planned
from harness.engine.sample import sample_checkpoint
from harness.home import home
from harness.plan import Plan
from harness.progress import Silent
from harness.registry import load_catalog
from harness.request import Request

HYPER = ("max_steps=2", "batch_size=4", "select=last")
LABELS = ("entailment", "neutral", "contradiction")
TAGS = ("O", "O", "O", "B-PER", "B-LOC")


def main() -> None:
    """Train the heads, then one process a count and way, or be one of these processes."""
    options = sidebyside.parser(__doc__, rounds=1)
    options.add_argument("--tasks", default="xnli,panx")
    options.add_argument("--counts", default="10000,30000,100000")
    options.add_argument("--ways", default="blocks,once")
    chosen = options.parse_args()
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Each count in blocks against the first, and all at once against blocks."""
    counts = [int(text) for text in options.counts.split(",")]
    ways = options.ways.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HARNESS_HOME"] = scratch
        for task in options.tasks.split(","):
            folder = Path(scratch) / task
            _train(task, Path(scratch))
            cases = {}
            for count in counts:
                _write(task, count, folder / f"data-{count}")
                for way in ways:
                    name = f"{named(count)}, {way}"
                    cases[name] = {"task": task, "count": count, "way": way, "folder": str(folder)}
            turns = in_turn(__file__, cases, options.rounds)
            first = f"{named(counts[0])}, {ways[0]}"
            for name, case in cases.items():
                against = first if case["way"] == ways[0] else f"{named(int(str(case['count'])))}, {ways[0]}"
                if name == first:
                    continue
                goal = (
                    Goal(most=round(1.1 * int(str(case["count"])) / counts[0], 2))
                    if against == first
                    else None
                )
                note = f"planned {turns[name][-1].said['planned']:.0f} MiB"
                yield compared(f"{task} as items grow", turns, name, against, goal=goal, note=note)


def prepare(case: Case) -> Ready:
    """A turn is one whole run, in a folder of its own."""
    return lambda: lambda: _run(case["task"], case["count"], case["way"], Path(case["folder"]))


def _train(task: str, scratch: Path) -> None:
    """A checkpoint that carries the task's head, at ``<task>/model``."""
    run = harness.evaluate(
        model=str(sample_checkpoint(home())),
        tasks=task,
        languages="en",
        data="sample",
        hyper=HYPER,
        output=scratch / task / "trained",
    )
    (training,) = run.manifest["trainings"]
    (scratch / task / "model").symlink_to(scratch / "checkpoints" / training["checkpoint"])


def _write(task: str, count: int, folder: Path) -> None:
    """``<task>/dev-en.tsv`` below a folder; every item differs from the others by a number."""
    random = np.random.default_rng(0)
    path = folder / task / "dev-en.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.writelines(LINES[task](random, number))


def _words(random: np.random.Generator, number: int) -> list[str]:
    length = int(random.integers(4, 14))
    return [*(WORDS[place] for place in random.integers(0, len(WORDS), length).tolist()), str(number)]


def _pair(random: np.random.Generator, number: int) -> Iterator[str]:
    texts = (" ".join(_words(random, number)) for _ in range(2))
    yield "\t".join([*texts, LABELS[number % len(LABELS)]]) + "\n"


def _sentence(random: np.random.Generator, number: int) -> Iterator[str]:
    for place, word in enumerate(_words(random, number)):
        yield f"{word}\t{TAGS[(number + place) % len(TAGS)]}\n"
    yield "\n"


LINES: dict[str, Callable[[np.random.Generator, int], Iterator[str]]] = {"xnli": _pair, "panx": _sentence}


class Watch(Silent):
    """Looks at the memory when the plan stands."""

    at_plan = 0.0

    def planned(self, plan: Plan, pending: int) -> None:
        self.at_plan = sidebyside.own_peak()


def _run(task: str, count: int, way: str, folder: Path) -> Json:
    """One run from the files to the report."""
    if way == "once":
        grouping.GROUP_EXAMPLES["cpu"] = count + 1
    catalog, watch = load_catalog(), Watch()
    request = Request(
        model=[str(folder / "model")],
        tasks=[task],
        languages=["en"],
        split=[f"{task}=dev"],
        data=str(folder / f"data-{count}"),
        output=Path(tempfile.mkdtemp(dir=folder)) / "run",
        device="cpu",
        train=False,
    )
    run = carry_out(planned(request, catalog), catalog, watch)
    if run.failures or {record.n for record in run.records} != {count}:
        raise SystemExit(f"{task}: not all of {count} items are scored: {run.failures}")
    return {"planned": watch.at_plan}


if __name__ == "__main__":
    main()
