"""``harness score`` and ``harness export`` on the command line: numbers, words, exit codes, and no heavy library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.registry import load_catalog
from harness.suite import SuiteTask

XTREME = load_catalog().suites["xtreme"]
ITEMS = 4
Cli = Callable[..., Any]


def _right(entry: SuiteTask, place: int) -> int:
    """How many of the four items of a language are right: another number in each."""
    return (place * 3 + len(entry.task)) % (ITEMS + 1)


def _answers(entry: SuiteTask, right: int) -> tuple[str, str]:
    """Texts of a label file with four items and of a prediction file of which so many are right."""
    hits = [number < right for number in range(ITEMS)]
    if entry.group == "qa":
        questions = [
            {"id": f"q{number}", "answers": [{"text": f"twenty {number}"}]} for number in range(ITEMS)
        ]
        said = {f"q{number}": f"twenty {number if hit else 'x'}" for number, hit in enumerate(hits)}
        return json.dumps({"data": [{"paragraphs": [{"qas": questions}]}]}), json.dumps(said)
    rows = {
        "xnli": ("neutral\n", "entailment\n"),
        "pawsx": ("1\n", "0\n"),
        "udpos": ("NOUN\n\n", "VERB\n\n"),
        "panx": ("B-LOC\nI-LOC\n\n", "B-LOC\nO\n\n"),
        "bucc2018": ("a-{0}\ten-{0}\n", "b-{0}\ten-{0}\n"),
        "tatoeba": ("{0}\n", "9{0}\n"),
    }
    good, bad = rows[entry.task]
    texts = [(good if hit else bad).format(number) for number, hit in enumerate(hits)]
    return "".join(good.format(number) for number in range(ITEMS)), "".join(texts)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission for every task and language of XTREME."""
    folder = tmp_path_factory.mktemp("submission")
    for entry in XTREME.tasks:
        suffix = "json" if entry.group == "qa" else "tsv"
        for place, language in enumerate(entry.languages):
            gold, said = _answers(entry, _right(entry, place))
            for side, text in (("labels", gold), ("predictions", said)):
                path = folder / side / entry.task / f"test-{language}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of the whole submission, to be damaged."""
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


def _score(cli: Cli, folder: Path, *options: object) -> Any:
    return cli("score", folder / "predictions", "--labels", folder / "labels", *options)


def _expected() -> dict[str, float]:
    """The score of each task, from the number of right items alone."""
    scores = {}
    for entry in XTREME.tasks:
        shares = [_right(entry, place) / ITEMS for place in range(len(entry.languages))]
        mean = 100 * sum(shares) / len(shares)
        # A wrong answer still has one of its two words right.
        scores[entry.task] = (mean + (mean + (100 - mean) / 2)) / 2 if entry.group == "qa" else mean
    return scores


def test_json_has_every_task_group_and_language(cli: Cli, whole: Path) -> None:
    done = _score(cli, whole, "--suite", "xtreme", "--json")
    assert (done.code, done.err) == (0, "")
    value = json.loads(done.out)
    assert list(value) == ["suite", "overall", "groups", "tasks"]
    assert value["suite"] == "xtreme"
    expected = _expected()
    assert {name: task["score"] for name, task in value["tasks"].items()} == pytest.approx(expected)
    assert value["overall"] == pytest.approx(sum(expected.values()) / 9)
    assert value["groups"] == pytest.approx(
        {
            "classification": (expected["xnli"] + expected["pawsx"]) / 2,
            "tagging": (expected["udpos"] + expected["panx"]) / 2,
            "qa": (expected["xquad"] + expected["mlqa"] + expected["tydiqa"]) / 3,
            "retrieval": (expected["bucc2018"] + expected["tatoeba"]) / 2,
        }
    )
    for entry in XTREME.tasks:
        for metric in value["tasks"][entry.task]["metrics"].values():
            assert list(metric) == ["average", "languages"]
            assert tuple(metric["languages"]) == entry.languages
            mean = sum(metric["languages"].values()) / len(entry.languages)
            assert metric["average"] == pytest.approx(mean)


def test_the_table_shows_tasks_groups_and_the_overall(cli: Cli, whole: Path) -> None:
    done = _score(cli, whole)
    assert done.code == 0
    lines = {line.split()[0]: line.split() for line in done.out.splitlines() if line.strip()}
    expected = _expected()
    assert float(lines["xnli"][1]) == pytest.approx(expected["xnli"], abs=0.006)
    assert lines["panx"][2] == "40/40"
    assert "exact_match" in lines["mlqa"]
    assert float(lines["xtreme"][1]) == pytest.approx(sum(expected.values()) / 9, abs=0.006)


def test_a_group_is_a_suite(cli: Cli, whole: Path) -> None:
    value = json.loads(_score(cli, whole, "--suite", "xtreme-qa", "--json").out)
    assert list(value["tasks"]) == ["xquad", "mlqa", "tydiqa"]
    assert value["overall"] == value["groups"]["qa"] is not None


@pytest.mark.parametrize("side", ["predictions", "labels"])
def test_a_missing_task_is_left_out_and_then_there_is_no_overall(cli: Cli, folder: Path, side: str) -> None:
    shutil.rmtree(folder / side / "panx")
    done = _score(cli, folder, "--json")
    value = json.loads(done.out)
    assert done.code == 0
    assert "no overall score of xtreme: no folder in predictions and labels for panx" in done.complaint
    assert (value["overall"], value["groups"]["tagging"], "panx" in value["tasks"]) == (None, None, False)
    assert value["groups"]["qa"] is not None
    assert "incomplete" in _score(cli, folder).out


def test_some_languages_alone_give_no_overall(cli: Cli, folder: Path) -> None:
    for side in ("predictions", "labels"):
        for path in (folder / side).rglob("test-*"):
            if path.stem not in ("test-de", "test-zh"):
                path.unlink()
    done = _score(cli, folder, "-l", "available", "--json")
    value = json.loads(done.out)
    assert done.code == 0
    assert value["overall"] is None
    assert set(value["tasks"]["xnli"]["metrics"]["accuracy"]["languages"]) == {"de", "zh"}
    assert "not in all languages: xnli 2 of 15, pawsx 2 of 7" in done.complaint
    assert "no folder in predictions and labels for tydiqa" in done.err
    one = json.loads(_score(cli, folder, "-l", "deu", "--suite", "xtreme-tagging", "--json").out)
    assert list(one["tasks"]["panx"]["metrics"]["f1"]["languages"]) == ["de"]


def test_questions_without_an_answer_count_as_wrong_and_are_told(cli: Cli, folder: Path) -> None:
    path = folder / "predictions/mlqa/test-hi.json"
    said = json.loads(path.read_text("utf-8"))
    before = json.loads(_score(cli, folder, "--json").out)["tasks"]["mlqa"]["metrics"]
    assert before["exact_match"]["languages"]["hi"] > 0
    del said["q0"]
    path.write_text(json.dumps(said), "utf-8")
    done = _score(cli, folder, "--json")
    after = json.loads(done.out)["tasks"]["mlqa"]["metrics"]
    assert done.code == 0
    assert f"{path}: 1 of 4 items" in done.complaint
    assert "count as wrong, the first is 'q0'" in done.complaint
    for name in ("f1", "exact_match"):
        assert after[name]["languages"]["hi"] == pytest.approx(before[name]["languages"]["hi"] - 25)


def _replace(folder: Path, name: str, text: str | None) -> None:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("predictions/xnli/test-sw.tsv", None, "predictions/xnli/test-sw.tsv: no such file; xnli needs one"),
        ("labels/xquad/test-el.json", None, "labels/xquad/test-el.json: no such file"),
        ("predictions/xnli/test-sw.tsv", "neutral\n" * 3, "test-sw.tsv: 3 items where"),
        ("predictions/xnli/test-sw.tsv", "neutral\n" * 5, "give one prediction for each label"),
        (
            "predictions/xnli/test-sw.tsv",
            "neutral\nno\n",
            "test-sw.tsv, line 2: 'no' is not a label; allowed",
        ),
        ("labels/pawsx/test-ko.tsv", "1\n0\nx\n", "labels/pawsx/test-ko.tsv, line 3: 'x' is not a label"),
        ("predictions/udpos/test-kk.tsv", "NOUN\n\n" * 3, "test-kk.tsv: 3 items where"),
        ("predictions/udpos/test-kk.tsv", "X\n\nX\nX\n\nX\n\nX\n", "test-kk.tsv: sentence 2 of 4: 2 tags"),
        ("predictions/tatoeba/test-jv.tsv", "1\n2\n3\nx\n", "test-jv.tsv, line 4: 'x' is not a line number"),
        ("predictions/bucc2018/test-ru.tsv", "a-1 en-1\n", "test-ru.tsv, line 1: 'a-1 en-1' is not two ids"),
        ("predictions/tydiqa/test-te.json", '{"q0": "a", "q9": ""}', "1 of 2 ids are not in .*'q9'"),
        ("predictions/tydiqa/test-te.json", '{"q0": ', "test-te.json: not JSON"),
        ("labels/mlqa/test-vi.json", "[]", "labels/mlqa/test-vi.json: holds no label"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(
    cli: Cli, folder: Path, name: str, text: str | None, words: str
) -> None:
    _replace(folder, name, text)
    done = _score(cli, folder, "--json")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) == 1
    assert done.complaint.startswith("harness: ")
    assert re.search(words, done.complaint)


def test_bytes_that_are_no_utf_8_are_named_with_their_line(cli: Cli, folder: Path) -> None:
    (folder / "predictions/panx/test-my.tsv").write_bytes(b"O\n\xff\n")
    done = _score(cli, folder)
    assert done.code == 2
    assert "test-my.tsv, line 2: not UTF-8" in done.complaint


def test_folders_and_names_that_are_not_there_are_named(cli: Cli, whole: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = {
        (tmp_path / "nowhere", whole / "labels", "xtreme"): "nowhere: no such folder",
        (empty, whole / "labels", "xtreme"): "its folders are called xnli, pawsx, udpos",
        (whole / "predictions", whole / "labels", "xtrem"): "unknown suite 'xtrem'; did you mean xtreme",
    }
    for (predictions, labels, suite), words in cases.items():
        done = cli("score", predictions, "--labels", labels, "--suite", suite)
        assert done.code == 2
        assert words in done.complaint
    assert _score(cli, whole, "-l", "xx").code == 2
    assert cli("score", whole / "predictions").code == 2


def test_compressed_files_are_read(cli: Cli, folder: Path) -> None:
    import gzip

    before = _score(cli, folder, "--json").out
    for name in ("predictions/xnli/test-de.tsv", "labels/xquad/test-de.json"):
        path = folder / name
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert _score(cli, folder, "--json").out == before


PROGRAM = """
import sys
from harness.cli.main import _run
code = _run(sys.argv[1:], debug=False)
print("HEAVY", *[name for name in ("torch", "transformers", "datasets", "sklearn") if name in sys.modules])
sys.exit(code)
"""


def _heavy(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_run_exports_and_scores_as_it_did_and_nothing_heavy_is_loaded(cli: Cli, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    done = cli(
        *("eval", "-m", "sample", "-t", "tatoeba,bucc2018", "-l", "de,zh", "--data", "sample", "-o", run)
    )
    assert done.code == 0, done.err
    assert _heavy("export", run, "--format", "xtreme", "-o", out) == "HEAVY"
    score = ("score", out / "predictions", "--labels", out / "labels", "-l", "available")
    assert _heavy(*score) == "HEAVY"
    value = json.loads(cli(*score, "--json").out)
    lines = (run / "records.jsonl").read_text("utf-8").splitlines()
    main = [record for record in map(json.loads, lines) if record["main"]]
    assert len(main) == 4
    for record in main:
        metrics = value["tasks"][record["task"]]["metrics"]
        name = "accuracy" if record["task"] == "tatoeba" else "f1"
        assert metrics[name]["languages"][record["language"]] == pytest.approx(record["value"])
    again = cli("export", run, "--format", "xtreme", "-o", out)
    assert again.code == 2
    assert "not an empty folder" in again.complaint
