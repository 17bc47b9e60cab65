"""The submission layout read and written, and the export of a run scored again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import made
import pytest
from harness_xtreme import layout
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import DataError, Json, OutputError, Predictions, Record, Submission, UsageError, records
from harness.export import export_run
from harness.registry import load_catalog
from harness.run import Run, open_run
from harness.statistics import score
from harness.submission import score_folder, short_names
from harness.suite import Suite, SuiteTask

CATALOG = load_catalog()
XTREME = CATALOG.suites["xtreme"]
ENTRIES = {entry.task: entry for entry in XTREME.tasks}


def _file(folder: Path, text: str, name: str = "test-de.tsv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


# ---------------------------------------------------------------------------------------------- the suite


def test_xtreme_has_its_nine_tasks_with_their_languages() -> None:
    counts = {entry.task: len(set(entry.languages)) for entry in XTREME.tasks}
    assert counts == {
        "xnli": 15,
        "pawsx": 7,
        "udpos": 33,
        "panx": 40,
        "xquad": 11,
        "mlqa": 7,
        "tydiqa": 9,
        "bucc2018": 4,
        "tatoeba": 36,
    }
    assert len({code for entry in XTREME.tasks for code in entry.languages}) == 40
    assert set(ENTRIES["panx"].languages) - set(ENTRIES["tatoeba"].languages) == {"en", "ms", "my", "yo"}


def test_each_group_of_xtreme_is_a_suite_of_its_own() -> None:
    groups = {
        "classification": ["xnli", "pawsx"],
        "tagging": ["udpos", "panx"],
        "qa": ["xquad", "mlqa", "tydiqa"],
        "retrieval": ["bucc2018", "tatoeba"],
    }
    for name, tasks in groups.items():
        suite = CATALOG.suites[f"xtreme-{name}"]
        assert [entry.task for entry in suite.tasks] == tasks
        assert all(entry == ENTRIES[entry.task] for entry in suite.tasks)


@pytest.mark.parametrize(
    ("task", "names"),
    {
        "xnli": {"accuracy": "accuracy"},
        "pawsx": {"accuracy": "accuracy"},
        "udpos": {"tag_f1": "f1", "tag_precision": "precision", "tag_recall": "recall"},
        "panx": {"tag_f1": "f1", "tag_precision": "precision", "tag_recall": "recall"},
        "xquad": {"squad_f1": "f1", "squad_exact_match": "exact_match"},
        "mlqa": {"mlqa_f1": "f1", "mlqa_exact_match": "exact_match"},
        "tydiqa": {"squad_f1": "f1", "squad_exact_match": "exact_match"},
        "bucc2018": {"mining_f1": "f1", "mining_precision": "precision", "mining_recall": "recall"},
        "tatoeba": {"accuracy": "accuracy"},
    }.items(),
)
def test_metrics_are_called_as_in_evaluate_py(task: str, names: Mapping[str, str]) -> None:
    assert short_names(CATALOG.task(task), ENTRIES[task]) == names


def test_every_task_of_xtreme_takes_tatoeba_s_and_bucc_s_main_view() -> None:
    assert CATALOG.task("tatoeba").main.view == "en-xx"
    assert CATALOG.task("bucc2018").main.metric == "mining_f1"


# ---------------------------------------------------------------------------------------------- files


def test_labels_are_words_line_by_line(tmp_path: Path) -> None:
    path = _file(tmp_path, "entailment\r\n contradiction \r\nneutral\r\n")
    assert layout.NLI.read_labels(path, "de") == {"1": "entailment", "2": "contradiction", "3": "neutral"}


def test_a_sentence_ends_at_a_blank_line_and_at_the_end(tmp_path: Path) -> None:
    expected = {"1": ["DET", "NOUN"], "2": ["B-PER"]}
    for text in ("DET\nNOUN\n\nB-PER", "DET\nNOUN\n\nB-PER\n", " DET \nNOUN\n\t\nB-PER\n\n"):
        assert layout.TAGS.read_labels(_file(tmp_path, text), "de") == expected
    assert layout.TAGS.read_labels(_file(tmp_path, "DET\n\n\nNOUN\n"), "de") == {
        "1": ["DET"],
        "2": [],
        "3": ["NOUN"],
    }


def test_mined_pairs_are_one_set(tmp_path: Path) -> None:
    path = _file(tmp_path, "de-1\ten-1\nde-2\ten-9\nde-1\ten-1\n")
    (gold,) = layout.BITEXT_PAIRS.read_labels(path, "de").values()
    (said,) = layout.BITEXT_PAIRS.read_predictions(path, "de").values()
    assert gold == ["de-1\ten-1", "de-2\ten-9"]
    assert [one["target"] for one in said] == gold
    assert all(one["accepted"] for one in said)


@pytest.mark.parametrize("whole", [True, False], ids=["with data", "the list alone"])
def test_gold_answers_come_in_squad_s_format(tmp_path: Path, whole: bool) -> None:
    question = {"id": "q1", "question": "?", "answers": [{"text": "a", "answer_start": 0}, {"text": "b"}]}
    articles = [{"title": "t", "paragraphs": [{"context": "a b", "qas": [question]}]}]
    value: Json = {"version": 1.0, "data": articles} if whole else articles
    path = _file(tmp_path, json.dumps(value), "test-de.json")
    assert layout.ANSWERS.read_labels(path, "zh") == {"q1": {"answers": ["a", "b"], "language": "zh"}}


SQUAD = '{"data": [{"paragraphs": [{"qas": [{"id": "q", "answers": [%s]}]}]}]}'


@pytest.mark.parametrize(
    ("submission", "text", "words"),
    [
        (
            layout.NLI,
            "entailment\nmaybe\n",
            "line 2: 'maybe' is not a label; allowed are entailment, neutral",
        ),
        (layout.NLI, "entailment\n\n", "line 2: '' is not a label"),
        (layout.PARAPHRASE, "1\n2\n", "line 2: '2' is not a label; allowed are 0, 1"),
        (layout.BITEXT_LINES, "5\nsix\n", "line 2: 'six' is not a line number"),
        (layout.BITEXT_LINES, "-1\n", "line 1: '-1' is not a line number"),
        (layout.BITEXT_LINES, "٣\n", "line 1: '٣' is not a line number"),
        (layout.BITEXT_PAIRS, "de-1\ten-1\nde-2 en-2\n", "line 2: 'de-2 en-2' is not two ids with a tab"),
        (layout.BITEXT_PAIRS, "de-1\ten-1\t0.5\n", "line 1: .* is not two ids"),
        (layout.ANSWERS, "[1, 2", "not JSON"),
        (layout.ANSWERS, '["a"]', "holds list where an object"),
        (layout.ANSWERS, '{"q": 3}', "the answer to question 'q' is 3, not a text"),
        (layout.ANSWERS, '{"q": "a", "q": "b"}', "the key 'q' occurs a second time"),
    ],
)
def test_a_malformed_prediction_file_is_refused(
    tmp_path: Path, submission: Submission, text: str, words: str
) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(DataError, match=words) as caught:
        submission.read_predictions(path, "de")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"data": 3}', "not SQuAD's format"),
        ('{"data": [{"paragraphs": [{"qas": [{"id": "q"}]}]}]}', "not SQuAD's format.*answers"),
        (SQUAD % "", "question 'q' has no answer"),
        (SQUAD % '"a"', "not SQuAD's format"),
        ('{"q": "a"}', "not SQuAD's format"),
    ],
)
def test_malformed_gold_answers_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        layout.ANSWERS.read_labels(_file(tmp_path, text), "de")


_LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=5).filter(
    lambda text: text == text.strip()
)


@settings(deadline=None, max_examples=60)
@given(sentences=st.lists(st.lists(_LINE, min_size=1, max_size=4), max_size=4))
def test_tags_come_back(tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]]) -> None:
    ids = [str(number) for number in range(1, len(sentences) + 1)]
    path = _file(tmp_path_factory.mktemp("tags"), layout.TAGS.write(ids, sentences))
    assert layout.TAGS.read_predictions(path, "de") == dict(zip(ids, sentences, strict=True))


@settings(deadline=None, max_examples=60)
@given(
    answers=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_answers_come_back_whatever_their_ids(
    tmp_path_factory: pytest.TempPathFactory, answers: dict[str, list[str]]
) -> None:
    folder, ids = tmp_path_factory.mktemp("answers"), list(answers)
    gold = [{"answers": texts, "language": "sw"} for texts in answers.values()]
    said = [{"text": texts[0]} for texts in answers.values()]
    labels = _file(folder, layout.ANSWERS.write(ids, gold), "gold.json")
    path = _file(folder, layout.ANSWERS.write(ids, said), "said.json")
    assert layout.ANSWERS.read_labels(labels, "sw") == dict(zip(ids, gold, strict=True))
    assert layout.ANSWERS.read_predictions(path, "sw") == dict(zip(ids, said, strict=True))


@pytest.mark.parametrize(
    ("submission", "ids", "answers", "words"),
    [
        (layout.NLI, ["a"], ["maybe"], "item a: 'maybe' is not a label"),
        (layout.PARAPHRASE, ["a"], [1], "item a: 1 is not a label"),
        (layout.TAGS, ["a"], [["X", ""]], "item a: the tag '' does not fit on a line"),
        (layout.TAGS, ["a"], [["X Y\nZ"]], "does not fit on a line"),
        (layout.BITEXT_LINES, ["en-1"], ["seventeen"], "'seventeen' does not end in a line number"),
        (layout.BITEXT_PAIRS, ["de\t1"], [["en-1"]], r"'de\\t1' cannot be written"),
        (layout.ANSWERS, ["q", "q"], [{"text": "a"}, {"text": "b"}], "'q' occurs a second time"),
    ],
)
def test_what_does_not_fit_the_layout_is_not_written(
    submission: Submission, ids: Sequence[str], answers: Sequence[Json], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        submission.write(ids, answers)


# ---------------------------------------------------------------------------------------------- a run and its export

PAIR = {"target": "en-1", "score": 1.2, "accepted": True}
# Task, view and language to ids, gold answers and predictions.
UNITS: dict[tuple[str, str, str], tuple[list[str], list[Json], list[Json]]] = {
    ("xnli", "", "sw"): (
        ["a\tb", "c", "d"],
        ["neutral", "neutral", "entailment"],
        ["neutral", "contradiction", "entailment"],
    ),
    ("pawsx", "", "de"): (["1", "2"], ["0", "1"], ["1", "1"]),
    ("udpos", "", "fi"): (
        ["s1", "s2"],
        [["NOUN", "NOUN", "VERB"], ["SCONJ", "PUNCT"]],
        [["NOUN", "VERB", "VERB"], ["CCONJ", "PUNCT"]],
    ),
    ("panx", "", "yo"): (["s1"], [["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "O"]]),
    ("xquad", "", "th"): (
        ["q\t1", "q\n2"],
        [{"answers": ["ไทย", "สยาม"], "language": "th"}, {"answers": ["the year 5"], "language": "th"}],
        [{"text": "สยาม", "score": 3.5}, {"text": "year"}],
    ),
    ("mlqa", "", "zh"): (["q1"], [{"answers": ["北京大学"], "language": "zh"}], [{"text": "北京"}]),
    ("tydiqa", "", "ko"): (["q1"], [{"answers": ["서울 시"], "language": "ko"}], [{"text": ""}]),
    ("bucc2018", "mined", "fr"): (
        ["fr-1", "fr-2", "fr-3", "fr-4"],
        [["en-1"], ["en-7", "en-8"], [], ["en-4"]],
        [[PAIR], [{**PAIR, "target": "en-8"}], [{**PAIR, "target": "en-3"}], [{**PAIR, "accepted": False}]],
    ),
    ("tatoeba", "en-xx", "ja"): (
        ["en-0", "en-3", "en-1"],
        ["ja-17", "ja-0", "ja-2"],
        ["ja-17", "ja-2", "ja-2"],
    ),
}


def _record(task: str, view: str, language: str, metric: str, value: float, n: int, **changes: Any) -> Record:
    usual = {
        "variant": f"xtreme.head.{view}" if view else "xtreme.head",
        "view": view,
        "signature": CATALOG.metric(metric).signature,
        "plugin": task,
        "distribution": "crosslingual-transfer-harness",
    }
    place = {"task": task, "language": language, "metric": metric, "value": value, "n": n}
    return made.record(**{**usual, **place, **changes})


def _write_unit(
    folder: Path, key: tuple[str, str, str], said: Sequence[Json] | None = None, **changes: Any
) -> Record:
    """Predictions on disk and the main record of one unit."""
    task, view, language = key
    ids, gold, answers = UNITS[key]
    values = list(answers if said is None else said)
    metric = CATALOG.task(task).main.metric
    found = score(CATALOG.metric(metric), gold, values)
    record = _record(task, view, language, metric, found.value, len(ids), **changes)
    path = records.predictions_path(folder, task, record.variant, record.seed, language)
    predictions = Predictions(view=view, ids=ids, gold=gold, values=values)
    records.write_predictions(path, predictions, {metric: found.parts})
    return record


def _run(folder: Path, found: Sequence[Record]) -> Run:
    records.write_records(folder / "records.jsonl", found)
    names = ("run", "status", "identity", "model", "versions", "hardware", "data", "started")
    manifest = {"schema": records.SCHEMA_VERSION, "units": [], **dict.fromkeys(names, "")}
    (folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    return open_run(folder)


def _suite(keys: Sequence[tuple[str, str, str]]) -> Suite:
    entries = tuple(
        SuiteTask(task=task, languages=(language,), group=ENTRIES[task].group, metrics=ENTRIES[task].metrics)
        for task, _, language in keys
    )
    return Suite(name="small", title="small", tasks=entries, citation="c")


def test_the_export_of_a_run_scores_as_the_run(tmp_path: Path) -> None:
    found = [_write_unit(tmp_path / "run", key) for key in UNITS]
    done = export_run(_run(tmp_path / "run", found), tmp_path / "out", CATALOG)
    assert (done.files, set(done.tasks), done.skipped, done.notes) == (9, set(ENTRIES), (), ())
    scores = score_folder(tmp_path / "out/predictions", tmp_path / "out/labels", _suite(list(UNITS)), CATALOG)
    for record in found:
        task = CATALOG.task(record.task)
        name = short_names(task, ENTRIES[record.task])[record.metric]
        assert scores.tasks[record.task].metrics[name].languages == {
            record.language: pytest.approx(record.value)
        }
    assert scores.missing == scores.unanswered == ()


def test_the_numbers_of_the_hand_made_run_are_as_worked_out(tmp_path: Path) -> None:
    found = {key[0]: _write_unit(tmp_path, key).value for key in UNITS}
    assert found == pytest.approx(
        {
            "xnli": 200 / 3,
            "pawsx": 50,
            "udpos": 25,  # of 4 gold and 4 predicted chunks only PUNCT is right
            "panx": 200 / 3,
            "xquad": (100 + 100 * 2 / 3) / 2,
            "mlqa": 200 / 3,
            "tydiqa": 0,
            "bucc2018": 400 / 7,  # 2 right of 3 accepted and 4 gold pairs
            "tatoeba": 200 / 3,
        }
    )


def test_the_files_are_in_xtreme_s_layout(tmp_path: Path) -> None:
    found = [_write_unit(tmp_path / "run", key) for key in UNITS]
    export_run(_run(tmp_path / "run", found), tmp_path / "out", CATALOG)
    texts = {
        str(path.relative_to(tmp_path / "out")): path.read_text("utf-8")
        for path in (tmp_path / "out").rglob("*.tsv")
    }
    assert texts["predictions/xnli/test-sw.tsv"] == "neutral\ncontradiction\nentailment\n"
    assert texts["predictions/udpos/test-fi.tsv"] == "NOUN\nVERB\nVERB\n\nCCONJ\nPUNCT\n\n"
    assert texts["labels/tatoeba/test-ja.tsv"] == "17\n0\n2\n"
    assert texts["predictions/tatoeba/test-ja.tsv"] == "17\n2\n2\n"
    assert texts["labels/bucc2018/test-fr.tsv"] == "fr-1\ten-1\nfr-2\ten-7\nfr-2\ten-8\nfr-4\ten-4\n"
    assert texts["predictions/bucc2018/test-fr.tsv"] == "fr-1\ten-1\nfr-2\ten-8\nfr-3\ten-3\n"
    answers = json.loads((tmp_path / "out/predictions/xquad/test-th.json").read_text("utf-8"))
    assert answers == {"q\t1": "สยาม", "q\n2": "year"}


def test_one_seed_is_exported_the_lowest_unless_one_is_asked_for(tmp_path: Path) -> None:
    key = ("pawsx", "", "de")
    found = [
        _write_unit(tmp_path / "run", key, said, seed=seed)
        for seed, said in ((10, ["0", "1"]), (2, ["1", "1"]), (3, ["1", "0"]))
    ]
    found.append(_write_unit(tmp_path / "run", ("tatoeba", "en-xx", "ja")))
    run = _run(tmp_path / "run", found)
    for seed, text in ((None, "1\n1\n"), (10, "0\n1\n"), (3, "1\n0\n")):
        target = tmp_path / f"out-{seed}"
        assert export_run(run, target, CATALOG, seed).files == 2
        assert (target / "predictions/pawsx/test-de.tsv").read_text("utf-8") == text
    with pytest.raises(UsageError, match="no seed 4 of the task 'pawsx' in this run; there are 2, 3, 10"):
        export_run(run, tmp_path / "out-4", CATALOG, 4)


def test_a_carried_head_and_a_new_one_are_not_exported_as_seeds(tmp_path: Path) -> None:
    key = ("pawsx", "", "de")
    found = [_write_unit(tmp_path / "run", key, ["0", "1"], seed=seed) for seed in (None, 0)]
    with pytest.raises(UsageError, match="pawsx was answered by the model's own head and by new ones"):
        export_run(_run(tmp_path / "run", found), tmp_path / "out", CATALOG)


def test_only_the_main_view_and_encoding_are_exported(tmp_path: Path) -> None:
    key = ("tatoeba", "en-xx", "ja")
    main = _write_unit(tmp_path / "run", key)
    other = _write_unit(tmp_path / "run", key, ["ja-2"] * 3, variant="xtreme.layer1.mean.en-xx", main=False)
    assert export_run(_run(tmp_path / "run", [main, other]), tmp_path / "out", CATALOG).files == 1
    assert (tmp_path / "out/predictions/tatoeba/test-ja.tsv").read_text("utf-8") == "17\n2\n2\n"


def test_an_export_says_why_its_numbers_are_not_to_be_compared(tmp_path: Path) -> None:
    found = [
        _write_unit(tmp_path / "run", ("pawsx", "", "de"), caveats=("split dev",)),
        _write_unit(tmp_path / "run", ("panx", "", "yo"), caveats=("split dev",), limited=1),
    ]
    done = export_run(_run(tmp_path / "run", found), tmp_path / "out", CATALOG)
    assert done.notes == ("split dev (panx/yo, pawsx/de)", "limited to 1 items (panx/yo)")


def test_a_folder_that_holds_something_is_not_exported_to(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", [_write_unit(tmp_path / "run", ("pawsx", "", "de"))])
    _file(tmp_path / "out", "mine", "notes.txt")
    with pytest.raises(OutputError, match="not an empty folder"):
        export_run(run, tmp_path / "out", CATALOG)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_run_without_a_score_is_not_exported(tmp_path: Path) -> None:
    tmp_path.joinpath("run").mkdir()
    with pytest.raises(UsageError, match="holds no score of a task that has a submission layout"):
        export_run(_run(tmp_path / "run", []), tmp_path / "out", CATALOG)


def test_a_task_without_a_layout_is_skipped_and_named(tmp_path: Path) -> None:
    other = _record("mnli", "", "en", "accuracy", 50.0, 2)
    assert CATALOG.task("mnli").submission is None
    run = _run(tmp_path / "run", [other, _write_unit(tmp_path / "run", ("pawsx", "", "de"))])
    assert export_run(run, tmp_path / "out", CATALOG).skipped == ("mnli",)


@pytest.mark.full
def test_the_mock_submission_of_xtreme_scores_as_published(real_data: Path) -> None:
    """google-research/xtreme's mock_test_data, run by its evaluate.py with seqeval 0.0.12."""
    folder = real_data / "mock_test_data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; it is mock_test_data of google-research/xtreme")
    scores = score_folder(folder / "predictions", folder / "labels", XTREME, CATALOG)
    found = {"overall": scores.overall, **scores.groups}
    found |= {name: task.score for name, task in scores.tasks.items()}
    assert found == pytest.approx(
        {
            "overall": 62.1732,
            "classification": 41.0476,
            "tagging": 63.8627,
            "qa": 80.3757,
            "retrieval": 54.3056,
            "pawsx": 51.4286,
            "xnli": 30.6667,
            "panx": 57.5079,
            "udpos": 70.2175,
            "bucc2018": 55.0,
            "tatoeba": 53.6111,
            "xquad": (77.2727 + 79.9587) / 2,
            "mlqa": (57.1429 + 81.7687) / 2,
            "tydiqa": (88.8889 + 97.2222) / 2,
        },
        abs=2e-4,
    )
