"""What is wrong with a file of the pair and question tasks is told with the file, the place and what is allowed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from harness_intermediate import mnli, squad_v1
from harness_xtreme import mlqa, pawsx, tydiqa, xnli, xquad

from harness import TaskSpec, sources
from harness.errors import DataError
from harness.sources import DataLocation

GLUE = "index\tsentence1\tsentence2\tlabel1\tgold_label\n"
XNLI_HEADER = "language\tgold_label\tsentence1\tsentence2\n"
PAWSX_HEADER = "id\tsentence1\tsentence2\tlabel\n"

# Tab-separated layouts: task, language, split, file, a good line with its end, and what begins the file.
PAIR_FILES: dict[str, tuple[TaskSpec, str, str, str, str, str]] = {
    "xnli of XTREME": (xnli.XNLI, "de", "dev", "xnli/dev-de.tsv", "a\tb\tneutral\r\n", ""),
    "xnli 1.0": (xnli.XNLI, "de", "dev", "xnli/XNLI-1.0/xnli.dev.tsv", "de\tneutral\ta\tb\n", XNLI_HEADER),
    "pawsx of XTREME": (pawsx.PAWSX, "ja", "dev", "pawsx/dev-ja.tsv", "a\tb\t1\r\n", ""),
    "pawsx": (pawsx.PAWSX, "ja", "dev", "pawsx/x-final/ja/dev_2k.tsv", "7\ta\tb\t1\n", PAWSX_HEADER),
    "mnli of GLUE": (
        mnli.MNLI,
        "en",
        "dev",
        "glue_data/MNLI/dev_matched.tsv",
        "0\ta\tb\tneutral\tneutral\n",
        GLUE,
    ),
    "mnli of XTREME": (mnli.MNLI, "en", "train", "xnli/train-en.tsv", "a\tb\tneutral\r\n", ""),
}


def assert_refused(task: TaskSpec, language: str, split: str, folder: Path, *words: str) -> None:
    """Reading ends in one line with these words, the task's name among them."""
    with pytest.raises(DataError) as caught:
        sources.read(task, language, split, DataLocation(kind="files", folder=folder))
    told = str(caught.value)
    assert told.startswith(f"{task.name}/{language}/{split}: ")
    assert "\n" not in told
    for word in words:
        assert word in told, f"{word!r} is not in {told!r}"


def put(folder: Path, path: str, data: bytes | str) -> None:
    """Write a file below a data folder."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)


@pytest.mark.parametrize("layout", PAIR_FILES)
def test_a_good_file_is_read(tmp_path: Path, layout: str) -> None:
    """So that what follows fails for the damage alone."""
    task, language, split, path, line, header = PAIR_FILES[layout]
    put(tmp_path, path, header + line)
    found = sources.read(task, language, split, DataLocation(kind="files", folder=tmp_path))
    assert len(found.examples) == 1


@pytest.mark.parametrize("layout", PAIR_FILES)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("empty", ["is empty"]),
        ("more columns", ["line {line}", "fields"]),
        ("fewer columns", ["line {line}", "fields"]),
        ("label", ["line {line}", "'maybe' is not a label; allowed are"]),
        ("no label", ["line {line}", "'' is not a label; allowed are"]),
        ("NUL", ["line {line}", "a NUL character"]),
        ("not UTF-8", ["line {line}", "not UTF-8"]),
        ("gzip", ["cannot be read"]),
    ],
)
def test_a_damaged_pair_file_is_told_with_file_and_line(
    tmp_path: Path, layout: str, damage: str, words: list[str]
) -> None:
    task, language, split, path, line, header = PAIR_FILES[layout]
    body, end = line.rstrip("\r\n"), line[len(line.rstrip("\r\n")) :]
    label = "1" if task is pawsx.PAWSX else "neutral"
    bad = {
        "more columns": "\t".join(["x"] * 9),
        "fewer columns": "x",
        "label": body.replace(label, "maybe"),
        "no label": body.replace(label, ""),
        "NUL": body.replace("a", "a\0", 1),
        "not UTF-8": body,
        "gzip": body,
        "empty": "",
    }[damage]
    data = (header + line + bad + end).encode()
    if damage == "empty":
        data = b""
    if damage == "not UTF-8":
        data = (header + line).encode() + b"\xff\xfe" + (bad + end).encode()
    if damage == "gzip":
        path, data = f"{path}.gz", gzip.compress(data)[:-12]
    put(tmp_path, path, data)
    place = header.count("\n") + 2
    assert_refused(
        task, language, split, tmp_path, str(tmp_path / path), *[word.format(line=place) for word in words]
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a\tb\t1\r\n"c\td\t0\r\n', ["line 2", "doubled"]),
        ('a\tb\t1\r\n"c" d\te\t0\r\n', ["line 2", "doubled"]),
        ('"a\r\nb"\tc\t1\r\n', ["line 1", "runs over the end of the line"]),
        ("a\tb\t1\r\n\r\nc\td\t1\r\n", ["line 2", "0 tab-separated fields"]),
    ],
)
def test_quotes_that_do_not_pair_are_told(tmp_path: Path, text: str, words: list[str]) -> None:
    """None of them may swallow the lines that follow."""
    put(tmp_path, "pawsx/dev-fr.tsv", text)
    assert_refused(pawsx.PAWSX, "fr", "dev", tmp_path, "pawsx/dev-fr.tsv", *words)


def test_a_header_that_lacks_a_column_is_told(tmp_path: Path) -> None:
    put(tmp_path, "pawsx/x-final/fr/dev_2k.tsv", "id\tsentence1\tlabel\n1\ta\t0\n")
    assert_refused(pawsx.PAWSX, "fr", "dev", tmp_path, "dev_2k.tsv, line 1", "column names lack sentence2")


def test_a_glue_test_file_under_the_name_of_the_dev_file_is_told(tmp_path: Path) -> None:
    put(tmp_path, "glue_data/MNLI/dev_matched.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n")
    assert_refused(mnli.MNLI, "en", "dev", tmp_path, "line 1", "column names lack gold_label")


def test_ids_that_repeat_are_told(tmp_path: Path) -> None:
    put(tmp_path, "glue_data/MNLI/train.tsv", GLUE + "5\ta\tb\tneutral\tneutral\n" * 2)
    assert_refused(mnli.MNLI, "en", "train", tmp_path, "example id '5' occurs twice")


def test_unlabelled_test_files_are_told_with_what_to_do(tmp_path: Path) -> None:
    put(tmp_path, "pawsx/test-de.tsv", "a\tb\r\n")
    words = ["test-de.tsv, line 1: no label", "x-final", "--split pawsx=dev"]
    assert_refused(pawsx.PAWSX, "de", "test", tmp_path, *words)
    put(tmp_path, "xnli/test-de.tsv", "a\tb\r\nc\td\r\n")
    words = ["test-de.tsv, line 1: no label", "xnli/test-labels.txt", "--split xnli=dev"]
    assert_refused(xnli.XNLI, "de", "test", tmp_path, *words)
    put(tmp_path, "xnli/test-labels.txt", "neutral\n")
    assert_refused(xnli.XNLI, "de", "test", tmp_path, "test-labels.txt has 1 lines", "test-de.tsv has 2")
    put(tmp_path, "xnli/test-labels.txt", "neutral\n2\n")
    assert_refused(xnli.XNLI, "de", "test", tmp_path, "test-labels.txt, line 2: '2' is not a label")


def test_a_language_that_the_original_file_lacks_is_told(tmp_path: Path) -> None:
    put(tmp_path, "xnli/XNLI-1.0/xnli.dev.tsv", XNLI_HEADER + "de\tneutral\ta\tb\n")
    assert_refused(xnli.XNLI, "sw", "dev", tmp_path, "xnli-1.0 holds no example")


JSON_LINES = {
    "xnli": (xnli.XNLI, "de", "dev", "xnli/XNLI-1.0/xnli.dev.jsonl"),
    "mnli": (mnli.MNLI, "en", "train", "multinli/multinli_1.0/multinli_1.0_train.jsonl"),
}
GOOD_LINE = {"language": "de", "gold_label": "neutral", "sentence1": "a", "sentence2": "b"}


@pytest.mark.parametrize("layout", JSON_LINES)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", ["not JSON"]),
        ("[]", ["an object with the key", "found list"]),
        (json.dumps({**GOOD_LINE, "gold_label": "maybe"}), ["'maybe' is not a label"]),
        (json.dumps({**GOOD_LINE, "sentence1": None}), ["'sentence1' must be a text, found null"]),
        (json.dumps({"language": "de", "gold_label": "neutral"}), ["the key 'sentence1' is missing"]),
        (json.dumps({**GOOD_LINE, "sentence2": "a\ud800"}), ["half a surrogate pair"]),
        (json.dumps({**GOOD_LINE, "sentence2": "a\0"}), ["a NUL character"]),
    ],
)
def test_a_damaged_json_line_is_told_with_file_and_line(
    tmp_path: Path, layout: str, line: str, words: list[str]
) -> None:
    task, language, split, path = JSON_LINES[layout]
    put(tmp_path, path, f"{json.dumps(GOOD_LINE)}\n{line}\n")
    assert_refused(task, language, split, tmp_path, f"{path}, line 2", *words)


# Questions

QUESTION_FILES: dict[str, tuple[TaskSpec, str, str, str]] = {
    "xquad": (xquad.XQUAD, "de", "test", "xquad/xquad.de.json"),
    "mlqa": (mlqa.MLQA, "de", "dev", "mlqa/MLQA_V1/dev/dev-context-de-question-de.json"),
    "squad_v1": (squad_v1.SQUAD_V1, "en", "train", "squad/v1.1/train-v1.1.json"),
    "tydiqa": (tydiqa.TYDIQA, "fi", "test", "tydiqa/tydiqa-goldp-v1.1-dev.json"),
    "tydiqa of XTREME": (tydiqa.TYDIQA, "fi", "dev", "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.fi.dev.json"),
}


def asked(**changes: Any) -> dict[str, Any]:
    """A question on the passage ``Ann met Bob.``; a key with the value ``...`` is left out."""
    whole = {
        "id": "finnish-1-1",
        "question": "Who?",
        "answers": [{"text": "Bob", "answer_start": 8}],
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not ...}


def squad(*questions: Any, **paragraph: Any) -> str:
    """SQuAD's JSON of one passage."""
    return json.dumps(
        {"data": [{"paragraphs": [{"context": "Ann met Bob.", "qas": questions, **paragraph}]}]}
    )


@pytest.mark.parametrize("layout", QUESTION_FILES)
def test_a_good_file_of_questions_is_read(tmp_path: Path, layout: str) -> None:
    task, language, split, path = QUESTION_FILES[layout]
    put(tmp_path, path, squad(asked()))
    found = sources.read(task, language, split, DataLocation(kind="files", folder=tmp_path))
    assert len(found.examples) == 1


@pytest.mark.parametrize("layout", QUESTION_FILES)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param("", ["not JSON"], id="empty"),
        pytest.param("{", ["not JSON", "line 1, character"], id="broken"),
        pytest.param("[" * 100_000, ["not JSON"], id="deep"),
        pytest.param(b'{"data": "\xff"}', ["line 1", "not UTF-8"], id="not UTF-8"),
        pytest.param("[]", ["an object with the key 'data'"], id="list"),
        pytest.param("{}", ["the key 'data' is missing; there are none"], id="no data"),
        pytest.param('{"data": {}}', ["'data' must be a list, found dict"], id="odd data"),
        pytest.param('{"data": []}', ["holds no example"], id="no question"),
        pytest.param('{"data": [{}]}', ["article 1", "'paragraphs' is missing"], id="no paragraphs"),
        pytest.param(squad(asked(), context=None), ["article 1", "'context' must be a text"], id="context"),
        pytest.param(squad(asked(), qas=0), ["article 1", "'qas' must be a list, found int"], id="qas"),
        pytest.param(squad(asked(id=...)), ["article 1", "the key 'id' is missing"], id="no id"),
        pytest.param(squad(asked(id=7)), ["article 1", "'id' must be a text"], id="odd id"),
        pytest.param(
            squad(asked(question=...)), ["question finnish-1-1", "'question' is missing"], id="question"
        ),
        pytest.param(squad(asked(question="\ud800")), ["finnish-1-1", "surrogate"], id="surrogate"),
        pytest.param(squad(asked(question="\0")), ["finnish-1-1", "a NUL character"], id="NUL"),
        pytest.param(squad(asked(answers=...)), ["finnish-1-1", "'answers' is missing"], id="answers"),
        pytest.param(squad(asked(answers=[])), ["finnish-1-1", "there is no answer"], id="no answer"),
        pytest.param(squad(asked(answers=["Bob"])), ["finnish-1-1", "an object"], id="odd answer"),
        pytest.param(
            squad(asked(answers=[{"text": "Bob"}])), ["finnish-1-1", "'answer_start'"], id="no start"
        ),
        pytest.param(
            squad(asked(answers=[{"text": "Bob", "answer_start": True}])), ["a whole number"], id="odd start"
        ),
        pytest.param(
            squad(asked(answers=[{"text": "", "answer_start": 0}])),
            ["finnish-1-1", "the answer is empty", "XTREME removes", "--split"],
            id="unlabelled",
        ),
        pytest.param(
            squad(asked(answers=[{"text": "Eve", "answer_start": 0}])),
            ["finnish-1-1", "'Eve' is not in the passage"],
            id="nowhere",
        ),
        pytest.param(squad(asked(), asked()), ["question finnish-1-1", "a second time"], id="twice"),
        pytest.param(gzip.compress(squad(asked()).encode())[:-12], ["cannot be read"], id="gzip"),
    ],
)
def test_a_damaged_file_of_questions_is_told_with_file_and_question(
    tmp_path: Path, layout: str, data: str | bytes, words: list[str]
) -> None:
    task, language, split, path = QUESTION_FILES[layout]
    if isinstance(data, bytes) and data.startswith(b"\x1f\x8b"):
        path = f"{path}.gz"
    put(tmp_path, path, data)
    names_file = words != ["holds no example"]
    assert_refused(task, language, split, tmp_path, *([path] if names_file else []), *words)
