"""Of several ways to score a task in one run folder, the one that the last command asked for counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Record
from harness.run import RunWriter, open_run

Cli = Callable[..., Any]


def main_of(run: Path) -> dict[str, list[str]]:
    """Variant to the languages in which it has a main record."""
    found: dict[str, list[str]] = {}
    for line in (run / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["main"]:
            found.setdefault(record["variant"], []).append(record["language"])
    return found


def test_the_last_command_says_which_encoding_counts(cli: Cli, tmp_path: Path) -> None:
    """Also where it has nothing to compute, and also for languages that only an earlier command asked for."""
    run = tmp_path / "run"

    def asked(*options: str, languages: str = "de,sw") -> str:
        common = ("-m", "sample", "--data", "sample", "--device", "cpu", "-t", "tatoeba")
        said = cli("eval", *common, "-l", languages, "-o", run, "--json", *options)
        assert said.code == 0, said.err
        (suite,) = [table for table in json.loads(said.out)["report"]["suites"] if table["name"] == "xtreme"]
        (score,) = [score for score in suite["tasks"] if score["task"] == "tatoeba"]
        return json.dumps(score)

    first = asked()
    (usual,) = main_of(run)
    content = asked("--skip-special-tokens")
    (other,) = main_of(run)
    assert other == usual.replace(".mean.", ".mean-content.")
    assert main_of(run) == {other: ["de", "sw"]}
    assert first != content
    assert "variants" not in content
    before = len(open_run(run).records)
    assert asked() == first
    assert main_of(run) == {usual: ["de", "sw"]}
    assert len(open_run(run).records) == before
    asked("--skip-special-tokens", languages="de")
    assert main_of(run) == {other: ["de", "sw"]}
    asked("--layer", "1", languages="de")
    (layer,) = main_of(run).items()
    assert layer == (usual.replace(usual.split(".")[1], "layer1"), ["de"])
    asked(languages="sw,zh")
    assert main_of(run) == {usual: ["de", "sw", "zh"]}


def written(folder: Path, *records: Record) -> RunWriter:
    """A run folder with some records, open."""
    writer = RunWriter(folder, {}, "run", "missing")
    writer.add(records)
    return writer


def test_what_is_added_counts_and_with_it_its_other_languages_and_seeds(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    old = [make_record(variant="a", language=language) for language in ("de", "sw")]
    with written(tmp_path, *old) as writer:
        writer.add([make_record(variant="b", seed=0)])
        assert [record.main for record in writer.records if record.variant == "a"] == [False, False]
        writer.add([make_record(variant="a", language="zh")])
        assert {(record.variant, record.main) for record in writer.records} == {("a", True), ("b", False)}


def test_other_tasks_and_splits_keep_what_counts(make_record: Callable[..., Record], tmp_path: Path) -> None:
    others = [make_record(variant="a", task="pawsx"), make_record(variant="split=dev", split="dev")]
    with written(tmp_path, *others, make_record(variant="a")) as writer:
        writer.add([make_record(variant="b")])
        counted = {(record.task, record.split, record.variant) for record in writer.records if record.main}
    assert counted == {("pawsx", "test", "a"), ("xnli", "dev", "split=dev"), ("xnli", "test", "b")}


def test_other_metrics_never_count(make_record: Callable[..., Record], tmp_path: Path) -> None:
    pair = [make_record(variant="a"), make_record(variant="a", metric="f1", main=False)]
    with written(tmp_path, *pair) as writer:
        writer.add([make_record(variant="b")])
        writer.count({("xnli", "test"): ("a", "accuracy")})
        assert [(record.variant, record.metric) for record in writer.records if record.main] == [
            ("a", "accuracy")
        ]


def test_what_was_asked_for_counts_only_where_it_was_scored(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    with written(tmp_path, make_record(variant="a")) as writer:
        writer.count({("xnli", "test"): ("b", "accuracy"), ("pawsx", "test"): ("b", "accuracy")})
        assert [record.main for record in writer.records] == [True]
