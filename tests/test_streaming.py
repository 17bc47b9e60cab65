"""Long sets a block at a time: the same numbers and files as at once, nothing half written, nothing kept that need not be."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from harness_metrics.accuracy import ACCURACY, MACRO_F1
from harness_metrics.answers import ANSWERS
from harness_metrics.tagging import TAGGING
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Json, Metric, OutputError, Parts, Predictions, SpecError, files, grouping
from harness.engine.predict import Predictor
from harness.headanswers import HeadAnswers
from harness.metric import Score
from harness.records import PredictionsWriter, write_predictions
from harness.run import RunWriter
from harness.statistics import Tally, joined, score
from harness.views import ViewWriter

Cli = Callable[..., Any]

HYPER = ("max_steps=2", "batch_size=4", "learning_rate=1e-3", "warmup=0", "dropout=0", "select=last")
EVAL = ("eval", "-m", "sample", "--data", "sample", *(part for pair in HYPER for part in ("--hyper", pair)))
TASKS = ("-t", "xnli,panx,udpos,xquad", "-l", "en,de")


# Whole runs


def prediction_files(run: Path) -> dict[str, Path]:
    """Prediction files by their place below a run folder."""
    return {
        path.relative_to(run).as_posix(): path for path in sorted((run / "predictions").rglob("*.parquet"))
    }


def in_blocks(monkeypatch: pytest.MonkeyPatch, examples: int) -> None:
    """From now on so many examples are answered at once."""
    monkeypatch.setitem(grouping.GROUP_EXAMPLES, "cpu", examples)


def test_a_run_in_small_blocks_is_that_at_once(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = cli(*EVAL, *TASKS, "-o", tmp_path / "once")
    assert said.code == 0, said.err
    in_blocks(monkeypatch, 3)
    said = cli(*EVAL, *TASKS, "-o", tmp_path / "blocks")
    assert said.code == 0, said.err
    assert (tmp_path / "blocks" / "records.jsonl").read_bytes() == (
        tmp_path / "once" / "records.jsonl"
    ).read_bytes()
    once, blocks = prediction_files(tmp_path / "once"), prediction_files(tmp_path / "blocks")
    assert list(once) == list(blocks)
    assert len(once) == 8
    for name, path in blocks.items():
        mine, other = pq.read_table(path), pq.read_table(once[name])
        assert mine.select(other.column_names).equals(other)
        assert set(mine.column_names) == set(other.column_names)
        sizes = [
            pq.ParquetFile(path).metadata.row_group(group).num_rows
            for group in range(pq.ParquetFile(path).num_row_groups)
        ]
        assert max(sizes) == 3
        assert pq.ParquetFile(once[name]).num_row_groups == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_block_that_fails_leaves_no_file_and_the_other_units_go_on(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_blocks(monkeypatch, 3)
    answer = Predictor.answer
    calls = []

    def answered(self: Predictor, *arguments: Any) -> Any:
        calls.append(self)
        if len(calls) == 3:
            raise RuntimeError("the third block is too much")
        return answer(self, *arguments)

    monkeypatch.setattr(Predictor, "answer", answered)
    said = cli(*EVAL, "-t", "xnli", "-l", "de,en", "-o", tmp_path / "run")
    assert said.code == 3
    assert (
        "xnli/de failed: xnli/de: RuntimeError while the model ran: the third block is too much" in said.err
    )
    assert [path.stem for path in (tmp_path / "run").rglob("*.parquet")] == ["en"]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("examples", "ahead"), [(6, [True, False]), (3, [True, False, True, False])], ids=["groups", "blocks"]
)
def test_the_next_tokens_are_made_while_the_model_runs(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examples: int, ahead: list[bool]
) -> None:
    """Of the next group of languages, or of a long unit's next block."""
    command = (*EVAL, "-t", "xnli", "-l", "de,en", "--limit", "6", "-o")
    assert cli(*command, tmp_path / "once").code == 0
    in_blocks(monkeypatch, examples)
    answer, asked = Predictor.answer, HeadAnswers._asked
    encoded, seen = threading.Semaphore(0), list[bool]()

    def told(self: HeadAnswers, *arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            return asked(self, *arguments)
        found = asked(self, *arguments)
        encoded.release()
        return found

    def answered(self: Predictor, *arguments: Any) -> Any:
        # Of a long unit the first block is made in the other thread too.
        if examples == 3 and len(seen) % 2 == 0:
            assert encoded.acquire(timeout=30)
        seen.append(encoded.acquire(timeout=30 if ahead[len(seen)] else 0.01))
        return answer(self, *arguments)

    monkeypatch.setattr(HeadAnswers, "_asked", told)
    monkeypatch.setattr(Predictor, "answer", answered)
    said = cli(*command, tmp_path / "ahead")
    assert said.code == 0, said.err
    assert seen == ahead
    assert (tmp_path / "ahead" / "records.jsonl").read_bytes() == (
        tmp_path / "once" / "records.jsonl"
    ).read_bytes()


# Prediction files


def predictions(begin: int, end: int) -> Predictions:
    """Made-up items with these numbers."""
    numbers = range(begin, end)
    return Predictions(
        view="",
        ids=[f"item-{number}" for number in numbers],
        gold=[{"answers": [str(number)], "ä": None} for number in numbers],
        values=[["é" * (number % 3), number / 7] for number in numbers],
    )


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_a_file_written_in_blocks_holds_what_one_written_at_once_holds(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    folder, total = tmp_path_factory.mktemp("blocks"), sum(sizes)
    parts = {"f1": {"hits": np.arange(total) / 3, "other": np.ones(total + 1)}}
    write_predictions(folder / "once.parquet", predictions(0, total), parts)
    with PredictionsWriter(folder / "blocks.parquet") as writer:
        begin = 0
        for size in sizes:
            writer.add(predictions(begin, begin + size))
            begin += size
            assert not (folder / "blocks.parquet").exists()
        writer.finish(parts)
    assert sorted(path.name for path in folder.iterdir()) == ["blocks.parquet", "once.parquet"]
    table = pq.read_table(folder / "blocks.parquet")
    assert table.column_names == ["id", "gold", "prediction", "f1.hits"]
    assert table.equals(pq.read_table(folder / "once.parquet"))
    groups = pq.ParquetFile(folder / "blocks.parquet").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == sizes


def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    with PredictionsWriter(tmp_path / "de.parquet") as writer:
        for number in range(3):
            writer.add(predictions(number, number + 1))
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_put_by_goes_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    identity = {"model": "m"}
    with RunWriter(tmp_path, identity, "run", "missing") as run:
        run.write_manifest(
            {"schema": 1, "run": "run", "identity": identity}
            | dict.fromkeys(("status", "model", "versions", "hardware", "data", "started"))
            | {"units": []}
        )
    left = PredictionsWriter(tmp_path / "predictions" / "xnli" / "de.parquet")
    left.add(predictions(0, 2))
    left.add(predictions(2, 4))
    (spool,) = (tmp_path / "predictions" / "xnli").iterdir()
    assert spool.name.startswith(".de.parquet.")
    with RunWriter(tmp_path, identity, "run", "missing"):
        assert not spool.exists()


def test_a_full_disk_is_told_for_a_block_that_is_put_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "temporary_beside", full)
    with PredictionsWriter(tmp_path / "de.parquet") as writer:
        writer.add(predictions(0, 1))
        with pytest.raises(OutputError, match="disk is full"):
            writer.add(predictions(1, 2))


# Metrics


def tag_items(random: np.random.Generator, count: int) -> tuple[list[Json], list[Json]]:
    """Sentences over tags that get rarer, so that blocks hold different ones."""
    tags = np.array(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], dtype=object)
    lengths = random.integers(1, 5, count)
    gold, said = (
        [tags[np.minimum(random.geometric(0.6, size), 5) - 1].tolist() for size in lengths] for _ in range(2)
    )
    return gold, said


def class_items(random: np.random.Generator, count: int) -> tuple[list[Json], list[Json]]:
    """Labels that get rarer."""
    gold, said = (["abcde"[min(n, 5) - 1] for n in random.geometric(0.6, count).tolist()] for _ in range(2))
    return gold, said


def question_items(random: np.random.Generator, count: int) -> tuple[list[Json], list[Json]]:
    """Questions of two languages with one or two gold answers, some without a prediction."""
    words = np.array(["the", "Turm", "der", "river", "1889", "A"], dtype=object)

    def text() -> str:
        return " ".join(words[random.integers(0, len(words), random.integers(0, 4))])

    gold = [
        {"answers": [text() for _ in range(random.integers(1, 3))], "language": ("en", "de")[number % 2]}
        for number in range(count)
    ]
    return gold, [None if random.random() < 0.1 else {"text": text()} for _ in range(count)]


ITEMWISE = [
    *((metric, class_items) for metric in (ACCURACY, MACRO_F1)),
    *((metric, tag_items) for metric in TAGGING),
    *((metric, question_items) for metric in ANSWERS),
]


def in_parts(metric: Metric, gold: Sequence[Json], said: Sequence[Json], size: int) -> Score:
    """The score of items that come ``size`` at a time."""
    tally = Tally(metric)
    for begin in range(0, len(gold), size):
        tally.add(gold[begin : begin + size], said[begin : begin + size])
    return tally.score()


@pytest.mark.parametrize(("metric", "items"), ITEMWISE, ids=[metric.name for metric, _ in ITEMWISE])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 40), size=st.integers(1, 15))
def test_a_score_does_not_depend_on_how_items_come(
    metric: Metric,
    items: Callable[[np.random.Generator, int], tuple[list[Json], list[Json]]],
    seed: int,
    count: int,
    size: int,
) -> None:
    assert metric.itemwise
    gold, said = items(np.random.default_rng(seed), count)
    whole, parted = score(metric, gold, said), in_parts(metric, gold, said, size)
    assert (parted.value, parted.n) == (whole.value, whole.n)
    assert parted.stderr == pytest.approx(whole.stderr, rel=1e-12)
    assert {name: part.tolist() for name, part in parted.parts.items()} == {
        name: part.tolist() for name, part in whole.parts.items()
    }


def metric_of(parts: Callable[[Sequence[Json], Sequence[Json]], Parts], *, itemwise: bool) -> Metric:
    """A metric with these parts."""
    return Metric(
        name="made_up",
        signature="made_up|v1",
        parts=parts,
        combine=lambda means: means["x"],
        doc="Paper: none. Official scorer: none.",
        itemwise=itemwise,
    )


def test_a_metric_that_is_not_itemwise_sees_all_items_at_once() -> None:
    def above_the_mean(gold: Sequence[Json], said: Sequence[Json]) -> Parts:
        return {"x": (np.array(said) > np.mean(said)).astype(np.float64)}

    said = [0, 1, 2, 9]
    assert in_parts(metric_of(above_the_mean, itemwise=False), said, said, 2).value == 25.0
    assert in_parts(metric_of(above_the_mean, itemwise=True), said, said, 2).value == 50.0


def test_an_itemwise_metric_gives_one_part_for_each_item() -> None:
    tally = Tally(metric_of(lambda gold, said: {"x": np.ones(1)}, itemwise=True))
    with pytest.raises(
        SpecError, match="'made_up' is itemwise, but gives parts that are not one for each item"
    ):
        tally.add([1, 2], [1, 2])


def test_parts_of_the_same_names_keep_their_order() -> None:
    block = {"hits": np.ones(2), "gold": np.zeros(2)}
    assert list(joined([block, block])) == ["hits", "gold"]


def test_facts_and_caveats_are_those_of_all_blocks(tmp_path: Path) -> None:
    def block(number: int, fact: int, *caveats: str) -> Predictions:
        return Predictions(
            view="", ids=[str(number)], gold=["a"], values=["a"], facts={"fact": fact}, caveats=caveats
        )

    with ViewWriter(tmp_path / "de.parquet", {"accuracy": ACCURACY}) as view:
        view.add(block(0, 1, "first"))
        view.add(block(1, 1, "second", "first"))
        scored = view.finish()
    assert (scored.facts, scored.caveats) == ({"fact": 1}, ("first", "second"))
    assert scored.scores["accuracy"].n == 2
    with ViewWriter(tmp_path / "en.parquet", {"accuracy": ACCURACY}) as view:
        view.add(block(0, 1))
        with pytest.raises(SpecError, match="the fact 'fact' is 2 for some items and 1 for others"):
            view.add(block(1, 2))
    assert json.loads(pq.read_table(tmp_path / "de.parquet")["gold"][0].as_py()) == "a"
