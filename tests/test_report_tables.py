"""What a run of nine tasks shows: suite tables, transfer, kinds of language, health, training; Markdown and JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import made
import pytest
from rich.console import Console

from harness import Record, Run, Suite, SuiteTask
from harness.report import Tables, markdown, summarise, tables_as_json, terminal
from harness.report.facts import training
from harness.report.health import health_of, warnings
from harness.report.suites import SuiteTable, title_of, total_label

GOLDEN = Path(__file__).parent / "golden" / "report.md"
QA = ("f1", "exact_match")

# Task, group, languages that count, metrics; a small XTREME.
TASKS = (
    ("xnli", "classification", "en de sw zh", ("accuracy",)),
    ("pawsx", "classification", "en de ja", ("accuracy",)),
    ("udpos", "tagging", "en fi ta", ("tag_f1",)),
    ("panx", "tagging", "en et my", ("tag_f1",)),
    ("xquad", "qa", "en el th", QA),
    ("mlqa", "qa", "en es vi", QA),
    ("tydiqa", "qa", "en ko sw", QA),
    ("bucc2018", "retrieval", "de ru", ("mining_f1",)),
    ("tatoeba", "retrieval", "de eu ka", ("accuracy",)),
)
SUITE = Suite(
    name="xtreme",
    title="A small XTREME",
    tasks=tuple(
        SuiteTask(task=task, languages=tuple(codes.split()), group=group, metrics=QA if group == "qa" else ())
        for task, group, codes, _ in TASKS
    ),
    citation="@misc{small}",
    notes=("A note of the suite.",),
)
SUITES = {"xtreme": SUITE}
MANIFEST: Mapping[str, Any] = {
    "run": "run",
    "status": "done",
    "started": "2020-01-01T00:00:00Z",
    "model": {
        "name": "small",
        "family": "bert",
        "depth": 2,
        "dtype": "float32",
        "revision": None,
        "weights": "w",
        "tokenizer": "t",
        "vectors": [],
    },
    "versions": {"harness": "0"},
    "hardware": {"cores": 2, "device": "cpu"},
    "data": "files",
    "units": [],
}


def _record(**changes: Any) -> Record:
    return made.record(**changes)


def _records(seeds: tuple[int, ...] = (0,)) -> list[Record]:
    """Nine tasks: English 80, each further language 10 less, each task 1 less, exact match 20 less, seeds 1 apart."""
    found = []
    for place, (task, group, codes, metrics) in enumerate(TASKS):
        for row, language in enumerate(codes.split()):
            for number, metric in enumerate(metrics):
                for seed in seeds if group != "retrieval" else (None,):
                    found.append(
                        _record(
                            task=task,
                            language=language,
                            metric=metric,
                            signature=f"{metric}|v1",
                            main=number == 0,
                            value=80.0 - 10 * row - place - 20 * number + (seed or 0),
                            seed=seed,
                            variant="xtreme.head" if group != "retrieval" else "xtreme.layer8.mean.en-xx",
                            view="en-xx" if group == "retrieval" else "",
                            trained={} if seed is None else _trained(task, seed),
                            inputs=_inputs(row),
                        )
                    )
    return found


def _trained(task: str, seed: int) -> dict[str, Any]:
    learned = "squad" if task in ("xquad", "mlqa") else task
    return {
        "checkpoint": f"{learned}-{seed}",
        "parent": "w",
        "task": learned,
        "split": "train",
        "language": "en",
        "examples": 2000,
        "steps": 63,
    }


def _inputs(row: int) -> dict[str, int]:
    return {
        "max_length": 128,
        "texts": 200,
        "examples": 100,
        "truncated": 4 * row,
        "empty": 0,
        "pieces": 1000 + 500 * row,
        "unknown": 100 * row,
        "words": 1000,
        "lost": row,
    }


def _run(records: list[Record], failures: Mapping[Any, str] | None = None) -> Run:
    return Run(folder=Path("run"), manifest=MANIFEST, records=records, failures=failures or {})


def _suite_table(records: list[Record], suites: Mapping[str, Suite] = SUITES) -> SuiteTable:
    (table,) = summarise(records, suites).suites
    return table


def _value(score: Any) -> float:
    assert score is not None
    return float(score.value)


def test_the_suite_averages_languages_then_tasks_as_computed_by_hand() -> None:
    """By hand: a task's mean is that of its languages; QA is (F1 + EM) / 2, so 10 below F1.

    xnli 80 70 60 50 -> 65; three languages -> 70 less the task's place; bucc2018 80 70 -> 75 - 7.
    """
    table = _suite_table(_records())
    scores = {score.task: _value(score.score) for score in table.scores}
    assert scores == {
        "xnli": 65.0,
        "pawsx": 69.0,
        "udpos": 68.0,
        "panx": 67.0,
        "xquad": 56.0,
        "mlqa": 55.0,
        "tydiqa": 54.0,
        "bucc2018": 68.0,
        "tatoeba": 62.0,
    }
    groups = {group.name: _value(group.score) for group in table.groups}
    assert groups == {"classification": 67.0, "tagging": 67.5, "qa": 55.0, "retrieval": 65.0}
    # 564 / 9, not the mean of the four groups (63.625).
    assert _value(table.overall.score) == pytest.approx(564 / 9)
    assert title_of(table) == "xtreme"
    assert total_label(table, table.overall) == "overall: mean of 9 of 9 tasks"
    assert all(score.counts for score in table.scores)


def test_item_errors_go_through_languages_and_tasks_as_by_hand() -> None:
    table = _suite_table(_records())
    errors = {score.task: score.score.stderr for score in table.scores if score.score}
    assert errors["xnli"] == pytest.approx(1 / math.sqrt(4))
    assert errors["xquad"] == pytest.approx(1 / math.sqrt(3)), "metrics of one item set do not average out"
    assert table.overall.score is not None
    assert table.overall.score.stderr == pytest.approx(math.sqrt(1 / 4 + 1 / 2 + 7 / 3) / 9)


@pytest.mark.parametrize(
    ("drop", "changes", "reason"),
    [
        ("sw", {}, "languages missing (xnli)"),
        ("", {"limited": 50}, "limited to 50 items (xnli)"),
        ("", {"caveats": ("split dev, the task's own is test",)}, "split dev, the task's own is test (xnli)"),
    ],
    ids=["missing language", "limit", "other split"],
)
def test_what_is_not_the_suites_number_is_shown_and_never_called_so(
    drop: str, changes: dict[str, Any], reason: str
) -> None:
    records = [
        dataclasses.replace(record, **changes) if record.task == "xnli" else record
        for record in _records()
        if (record.task, record.language) != ("xnli", drop)
    ]
    table = _suite_table(records)
    xnli = table.scores[0]
    assert xnli.score is not None
    assert not xnli.counts
    assert [score.counts for score in table.scores[1:]] == [True] * 8
    assert table.overall.reasons == (reason,)
    assert total_label(table, table.overall) == "overall, not xtreme's number: mean of 9 of 9 tasks"
    assert total_label(table, table.groups[0]).startswith("classification, not xtreme's number")
    assert total_label(table, table.groups[1]) == "tagging: mean of 2 of 2 tasks"
    assert title_of(table) == f"xtreme, {'incomplete' if drop else 'not comparable'}: {reason}"
    assert reason in _text(summarise(records, SUITES))
    assert f"> {title_of(table)}." in markdown.render(_run(records), summarise(records, SUITES))


def test_a_limited_dev_run_of_some_languages_says_all_of_it() -> None:
    records = [
        dataclasses.replace(record, limited=50, caveats=("split dev",))
        for record in _records()
        if record.language != "zh"
    ]
    table = _suite_table(records)
    assert title_of(table) == ("xtreme, incomplete: languages missing (xnli); split dev; limited to 50 items")
    assert table.scores[0].reasons == ("3 of 4 languages", "split dev", "limited to 50 items")


def test_a_task_that_was_not_run_leaves_the_rest_marked() -> None:
    records = [record for record in _records() if record.task != "tatoeba"]
    table = _suite_table(records)
    assert table.scores[-1].score is None
    assert _value(table.overall.score) == pytest.approx((564 - 62) / 8)
    assert table.overall.reasons == ("8 of 9 tasks",)
    retrieval = table.groups[-1]
    assert (retrieval.tasks, retrieval.reasons) == (("bucc2018",), ("1 of 2 tasks",))


def _twice(task: str, **changes: Any) -> list[Record]:
    """All records, and those of a task once more, 30 points lower, with something changed."""
    others = [record for record in _records() if record.task == task]
    lower = [dataclasses.replace(record, value=record.value - 30, **changes) for record in others]
    return [*lower, *_records()]


@pytest.mark.parametrize("variant", ["a.head", "z.head"])
def test_a_suite_takes_the_split_of_record_whatever_other_splits_were_scored(variant: str) -> None:
    other = {"split": "dev", "caveats": ("split dev, the task's own is test",)}
    table = _suite_table(_twice("xnli", variant=variant, **other))
    assert _value(table.scores[0].score) == 65.0
    assert table.scores[0].counts


@pytest.mark.parametrize("variant", ["a.head", "z.head"])
def test_a_suite_says_that_a_task_was_encoded_in_several_ways_and_which_is_shown(variant: str) -> None:
    """As in run folders of before, or where a command was interrupted."""
    table = _suite_table(_twice("xnli", variant=variant))
    shown = max(variant, "xtreme.head")
    assert table.scores[0].marks == (f"2 variants count in this run, this is {shown}",)
    assert table.overall.reasons == (f"2 variants count in this run, this is {shown} (xnli)",)


def test_a_variant_that_does_not_count_changes_no_suite() -> None:
    records = _twice("xnli", variant="z.head", main=False)
    assert _suite_table(records) == _suite_table(_records())


def test_a_language_counts_only_with_every_metric_of_the_suite() -> None:
    records = [
        record
        for record in _records()
        if (record.task, record.language, record.metric) != ("xquad", "th", "exact_match")
    ]
    xquad = _suite_table(records).scores[4]
    assert (xquad.languages, xquad.of) == (("en", "el"), 3)
    assert _value(xquad.score) == (66 + 56) / 2


def test_a_suite_touched_in_part_is_one_line() -> None:
    records = [record for record in _records() if record.task == "xnli"]
    tables = summarise(records, SUITES)
    assert [table.brief for table in tables.suites] == [True]
    text = _text(tables)
    assert "xtreme: 1 of its 9 tasks, no overall number; xnli 65.0" in text
    assert "overall, not" not in text


def test_a_suite_inside_another_is_shown_when_it_is_all_there_is() -> None:
    inner = dataclasses.replace(SUITE, name="xtreme-qa", tasks=SUITE.tasks[4:7], notes=())
    suites = {"xtreme": SUITE, "xtreme-qa": inner}
    assert [table.name for table in summarise(_records(), suites).suites] == ["xtreme"]
    records = [record for record in _records() if record.task in ("xquad", "mlqa", "tydiqa")]
    found = summarise(records, suites).suites
    assert [(table.name, table.brief) for table in found] == [("xtreme", True), ("xtreme-qa", False)]
    assert _value(found[1].overall.score) == 55.0
    assert not found[1].groups, "one group is the overall number"


def test_only_the_main_encoding_counts() -> None:
    other = [
        dataclasses.replace(record, variant="xtreme.layer2.mean.en-xx", main=False, value=1.0)
        for record in _records()
        if record.task == "tatoeba"
    ]
    tables = summarise([*_records(), *other], SUITES)
    assert _value(tables.suites[0].overall.score) == pytest.approx(564 / 9)
    assert [table.encoding for table in tables.tasks if table.task == "tatoeba"] == [
        "xtreme.layer8.mean",
        "xtreme.layer2.mean",
    ]
    assert len(tables.main_transfer) == 9


def test_the_deviation_of_the_overall_number_holds_untrained_tasks_still() -> None:
    """Seven of nine tasks move by 1 per seed, so the overall number moves by 7/9."""
    table = _suite_table(_records((0, 1, 2)))
    assert table.overall.score is not None
    assert table.overall.score.deviation == pytest.approx(7 / 9)
    assert [score.score.deviation for score in table.scores if score.score][-1] is None
    assert table.scores[0].score is not None
    assert table.scores[0].score.deviation == pytest.approx(1.0)


def test_languages_with_other_seeds_are_a_reason() -> None:
    records = [r for r in _records((0, 1)) if (r.task, r.language, r.seed) != ("xnli", "de", 1)]
    xnli = _suite_table(records).scores[0]
    assert xnli.reasons == ("1 to 2 seeds by language",)


@pytest.mark.parametrize(
    ("seeds", "note"),
    [
        ((0,), ""),
        (
            (0, 1),
            "means over 2 seeds, sd: standard deviation over seeds (not estimated well from fewer than 3)",
        ),
        ((0, 1, 2), "means over 3 seeds, sd: standard deviation over seeds"),
    ],
)
def test_seeds_are_told_and_few_of_them_too(seeds: tuple[int, ...], note: str) -> None:
    tables = summarise(_records(seeds), SUITES)
    assert tables.seed_note == note
    assert ("(sd " in _text(tables)) == (len(seeds) > 1)


def test_transfer_is_english_against_the_mean_of_the_others() -> None:
    found = {entry.task: entry for entry in summarise(_records(), SUITES).main_transfer}
    xnli = found["xnli"]
    assert (_value(xnli.english), _value(xnli.others), _value(xnli.gap)) == (80.0, 60.0, 20.0)
    assert xnli.worst == "zh"
    assert xnli.gap is not None
    assert xnli.gap.stderr == pytest.approx(math.sqrt(1 + 1 / 3))
    assert xnli.over == "mean of accuracy over xtreme's 4 languages"
    xquad = found["xquad"]
    assert (_value(xquad.average), _value(xquad.english), _value(xquad.gap)) == (56.0, 66.0, 15.0)
    assert xquad.over == "mean of f1 and exact_match over xtreme's 3 languages"


def test_retrieval_without_english_has_no_gap_and_says_so() -> None:
    tables = summarise(_records(), SUITES)
    (tatoeba,) = [entry for entry in tables.main_transfer if entry.task == "tatoeba"]
    assert (tatoeba.english, tatoeba.gap, tatoeba.worst) == (None, None, "ka")
    assert tatoeba.others == tatoeba.average
    assert "no English here" in _text(tables)
    assert "no English here" in markdown.render(_run(_records()), tables)


def test_the_worst_language_of_an_error_is_the_highest() -> None:
    records = [
        _record(language=code, value=value, higher_is_better=False)
        for code, value in (("en", 90.0), ("de", 10.0), ("sw", 40.0))
    ]
    assert summarise(records, {}).main_transfer[0].worst == "sw"


def test_without_a_suite_all_languages_shown_are_meant() -> None:
    (found,) = summarise([_record(language="en"), _record(language="yue", value=20.0)], {}).main_transfer
    assert found.over == "mean of accuracy over the 2 languages shown"
    assert found.unplaced == ("yue",)
    assert found.groups["family"] == ()


def test_groups_are_means_by_kind_without_english() -> None:
    values = {"en": 90.0, "de": 80.0, "hi": 60.0, "ur": 50.0, "fi": 70.0, "yo": 10.0}
    (found,) = summarise(
        [_record(language=code, value=value) for code, value in values.items()], {}
    ).main_transfer
    told = {
        name: [(group.name, group.score.value, group.languages) for group in groups]
        for name, groups in found.groups.items()
    }
    assert told == {
        "family": [
            ("Indo-European", pytest.approx(190 / 3), ("de", "hi", "ur")),
            ("Niger-Congo", 10.0, ("yo",)),
            ("Uralic", 70.0, ("fi",)),
        ],
        "script": [
            ("Arabic", 50.0, ("ur",)),
            ("Devanagari", 60.0, ("hi",)),
            ("Latin", pytest.approx(160 / 3), ("de", "fi", "yo")),
        ],
        "resources": [
            ("class 5", 80.0, ("de",)),
            ("class 4", 65.0, ("fi", "hi")),
            ("class 3", 50.0, ("ur",)),
            ("class 2", 10.0, ("yo",)),
        ],
    }


def test_health_is_shares_of_counts_and_nothing_where_they_are_missing() -> None:
    health = health_of(_inputs(2))
    assert (health.truncated, health.unknown, health.pieces_per_word, health.lost) == (8.0, 10.0, 2.0, 2)
    nothing = health_of({})
    assert set(dataclasses.asdict(nothing).values()) == {None}
    texts = health_of({"texts": 50, "truncated": 1, "pieces": 0, "unknown": 0})
    assert (texts.examples, texts.truncated, texts.unknown) == (50, 2.0, None)


def test_notable_health_is_a_warning_with_the_worst_languages_first() -> None:
    assert warnings({"de": health_of(_inputs(1))}) == []
    found = warnings({"de": health_of(_inputs(0)), "sw": health_of(_inputs(2)), "zh": health_of(_inputs(3))})
    assert found == [
        "more than 5 % of the examples are cut at the length limit: zh 12.0, sw 8.0",
        "more than 10 % of the sub-words are unknown to the tokenizer: zh 12.0",
        "more than 1 labels or answers in 100 examples are lost: zh 3.0, sw 2.0",
    ]
    many = {code: health_of(_inputs(3)) for code in "ar bg de el es fr hi".split()}
    assert warnings(many)[0].endswith(": ar 12.0, bg 12.0, de 12.0, el 12.0, es 12.0 and 2 more")
    assert "xnli: more than 5 %" in _text(summarise(_records(), SUITES))


def test_training_names_each_head_once_with_all_who_use_it() -> None:
    lines = training(_records((0, 1)))
    assert len(lines) == 2 * 6, "six heads of two seeds; squad serves two tasks"
    assert (
        "mlqa, xquad: trained on squad/train in en, 2,000 examples, 63 steps, checkpoint squad-0, parent w, seed 0"
        in lines
    )
    assert training([_record(trained={"task": "xnli", "split": "dev"})]) == ["xnli: trained on xnli/dev"]
    assert training([_record()]) == []


def _text(tables: Tables, *, by_language: bool | None = None, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal.render(tables, by_language=by_language))
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_many_tasks_are_short_on_a_terminal_and_few_have_every_language() -> None:
    tables = summarise(_records(), SUITES)
    text = _text(tables)
    assert len(text.splitlines()) < 70
    assert "zh Chinese" not in text
    assert "harness report FOLDER --by-language" in text
    assert "zh Chinese" in _text(tables, by_language=True)
    few = summarise([record for record in _records() if record.task == "xnli"], SUITES)
    assert "zh Chinese" in _text(few)
    assert "zh Chinese" not in _text(few, by_language=False)


def test_a_full_size_run_stays_compact() -> None:
    """Nine tasks of forty languages: nothing on the terminal grows with the number of languages."""
    codes = (
        "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw".split()
    )
    records = [
        _record(task=task, language=code, inputs=_inputs(3), caveats=("half",) if code != "en" else ())
        for task, *_ in TASKS
        for code in codes
    ]
    assert len(_text(summarise(records, SUITES)).splitlines()) < 80


def test_markdown_is_the_golden_one() -> None:
    """All that can happen: nine tasks, two seeds, a caveat, a limit, a missing language, a language in no table."""
    records = [
        dataclasses.replace(record, limited=50 if record.task == "pawsx" else None)
        for record in _records((0, 1))
        if (record.task, record.language) != ("xnli", "sw")
    ]
    records += [
        _record(
            task="tatoeba",
            language="yue",
            variant="xtreme.layer8.mean.en-xx",
            view="en-xx",
            value=5.0,
            caveats=("a|pipe",),
        )
    ]
    text = markdown.render(
        _run(records, {("xnli", "sw"): "xnli/sw: no such file"}), summarise(records, SUITES)
    )
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head() -> None:
    lines = GOLDEN.read_text(encoding="utf-8").replace("\\|", "").splitlines()
    heads = [place for place, line in enumerate(lines) if line.startswith("|---")]
    assert len(heads) == 2 + 9 * 3 + 1, "suite and transfer, three per task, languages"
    for head in heads:
        end = next(place for place in range(head, len(lines)) if not lines[place].startswith("|"))
        assert {line.count("|") for line in lines[head - 1 : end]} == {lines[head].count("|")}


def test_json_says_all_that_the_tables_say() -> None:
    records = [record for record in _records((0, 1)) if (record.task, record.language) != ("xnli", "sw")]
    value = json.loads(json.dumps(tables_as_json(_run(records), SUITES)))
    assert sorted(value) == ["facts", "failures", "model", "run", "schema", "status", "suites", "tasks"]
    (suite,) = value["suites"]
    assert sorted(suite) == ["groups", "name", "overall", "tasks", "title"]
    assert suite["overall"]["reasons"] == ["languages missing (xnli)"]
    assert not suite["overall"]["is_suite_number"]
    assert suite["tasks"][1] == {
        "task": "pawsx",
        "group": "classification",
        "metrics": ["accuracy"],
        "score": {
            "value": 69.5,
            "stderr": pytest.approx(1 / math.sqrt(3)),
            "seeds": 2,
            "deviation": pytest.approx(math.sqrt(0.5)),
        },
        "languages": ["en", "de", "ja"],
        "of": 3,
        "reasons": [],
        "is_suite_number": True,
    }
    xnli = next(task for task in value["tasks"] if task["task"] == "xnli")
    assert xnli["transfer"]["worst"] == {"language": "zh", "score": xnli["languages"]["zh"]["scores"][0]}
    assert xnli["transfer"]["gap"]["value"] == 20.0
    assert xnli["languages"]["zh"]["typology"]["script"] == "Hani"
    assert xnli["languages"]["zh"]["health"]["truncated"] == 12.0
    assert [group["name"] for group in xnli["transfer"]["groups"]["resources"]] == ["class 5"]
    tatoeba = next(task for task in value["tasks"] if task["task"] == "tatoeba")
    assert tatoeba["transfer"]["english"] is None
    assert [fact for fact in value["facts"] if fact[0] == "head"] == [
        ["head", line] for line in training(records)
    ]


def test_nothing_scored_shows_nothing() -> None:
    tables = summarise([], SUITES)
    assert (tables.suites, tables.tasks, tables.main_transfer) == ((), (), ())
    assert "## Facts" in markdown.render(_run([]), tables)
    assert tables_as_json(_run([]), SUITES)["suites"] == []
