"""XQuAD, MLQA, TyDiQA-GoldP and SQuAD v1.1: layouts, languages, and answers that stand where they are said to stand.

The golden digests of their real data are checked by ``tests/test_pair_tasks.py``, with those of the pair tasks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from harness_intermediate import squad_v1
from harness_xtreme import mlqa, squad_json, tydiqa, xquad
from hypothesis import assume, given
from hypothesis import strategies as st

from harness import Row, TaskSpec, files, sources
from harness.errors import DataError
from harness.formats.spans import Question
from harness.sources import DataLocation
from harness.spec import FilesSource, HubSource

# context, then (id, question, answer, its start)
Asked = tuple[str, str, str, int]
CONTEXT = "  Ann met Bob. Bob left."


def at(folder: Path) -> DataLocation:
    """A data folder as a location."""
    return DataLocation(kind="files", folder=folder)


def squad(asked: Sequence[Asked], context: str = CONTEXT, **more: Any) -> str:
    """Questions on one passage as SQuAD's JSON."""
    questions = [
        {"id": identity, "question": question, "answers": [{"text": text, "answer_start": start}]}
        for identity, question, text, start in asked
    ]
    article = {"title": "t", "paragraphs": [{"context": context, "qas": questions}]}
    return json.dumps({"version": "1.1", "data": [article], **more})


def put(folder: Path, path: str, text: str) -> Path:
    """Write a file below a data folder."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return folder


def examples(task: TaskSpec, language: str, split: str, folder: Path) -> list[Any]:
    """The examples of one language and split."""
    return list(sources.read(task, language, split, at(folder)).examples)


def hub(task: TaskSpec, split: str, rows: Sequence[Row], language: str) -> list[Any]:
    """The examples that the hub source makes of such rows."""
    (chosen,) = [one for one in task.sources if isinstance(one, HubSource) and one.split(split) is not None]
    return [task.example(row) for row in chosen.read(rows, language)]


def hub_row(identity: str, context: str, *answers: tuple[str, int]) -> Row:
    """A row as hub copies have it."""
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    return {
        "id": identity,
        "question": "Who?",
        "context": context,
        "answers": {"text": texts, "answer_start": starts},
    }


BOB = ("q1", "Who was met?", "Bob", 10)


@pytest.mark.parametrize(
    ("task", "split", "language", "path"),
    [
        (squad_v1.SQUAD_V1, "train", "en", "squad/train-v1.1.json"),
        (squad_v1.SQUAD_V1, "dev", "en", "squad/v1.1/dev-v1.1.json"),
        (xquad.XQUAD, "test", "th", "xquad/xquad.th.json"),
        (xquad.XQUAD, "dev", "ro", "xquad/xquad.ro.json"),
        (mlqa.MLQA, "test", "hi", "mlqa/MLQA_V1/test/test-context-hi-question-hi.json"),
        (mlqa.MLQA, "dev", "vi", "mlqa/MLQA_V1/dev/dev-context-vi-question-vi.json"),
    ],
)
def test_a_question_is_read_as_it_stands(
    tmp_path: Path, task: TaskSpec, split: str, language: str, path: str
) -> None:
    expected = Question(
        id="q1", question="Who was met?", context=CONTEXT, answers=("Bob",), starts=(10,), language=language
    )
    assert examples(task, language, split, put(tmp_path, path, squad([BOB]))) == [expected]


def test_mlqa_takes_questions_in_the_passages_language_only(tmp_path: Path) -> None:
    put(tmp_path, "mlqa/MLQA_V1/dev/dev-context-de-question-en.json", squad([BOB]))
    assert sources.available(mlqa.MLQA, "dev", at(tmp_path)) == ()


def test_a_hub_row_and_a_file_give_the_same_example(tmp_path: Path) -> None:
    put(tmp_path, "xquad/xquad.de.json", squad([("q1", "Who?", "Bob", 10)]))
    row = hub_row("q1", CONTEXT, ("Bob", 10))
    assert hub(xquad.XQUAD, "test", [row], "de") == examples(xquad.XQUAD, "de", "test", tmp_path)
    for task, split, language in ((mlqa.MLQA, "dev", "de"), (squad_v1.SQUAD_V1, "train", "en")):
        (one,) = hub(task, split, [row], language)
        assert (one.answers, one.starts, one.language) == (("Bob",), (10,), language)


# Where answers stand


@pytest.mark.parametrize(
    ("context", "text", "given", "place", "moved"),
    [
        pytest.param("Ann met Bob.", "Bob", 8, 8, 0, id="right"),
        pytest.param("Ann met Bob.", "Bob", 11, 8, 1, id="white space before the passage was taken away"),
        pytest.param("   Ann met Bob.", "Bob", 8, 11, 1, id="white space before the passage was put back"),
        pytest.param("      a b a", "a", 4, 10, 1, id="white space put back, another one nearer"),
        pytest.param("Bob Bob Bob", "Bob", 5, 4, 1, id="the nearest"),
        pytest.param("Bob --- Bob", "Bob", 4, 0, 1, id="the one before of two that are as near"),
        pytest.param("Ann met Bob.", "Bob", 0, 8, 1, id="behind"),
        pytest.param("Ann met Bob.", "Bob", -5, 8, 1, id="before the beginning"),
        pytest.param("Ann met Bob.", "Bob", 999, 8, 1, id="behind the end"),
    ],
)
def test_an_answer_is_put_where_it_stands(
    context: str, text: str, given: int, place: int, moved: int
) -> None:
    assert squad_json.checked_answers(context, [(text, given)], "here") == ([text], [place], moved)


@given(st.text("ab .", min_size=1, max_size=30), st.integers(0, 30), st.integers(1, 5), st.integers(-40, 40))
def test_a_repaired_answer_is_the_passages_own_characters(
    context: str, begin: int, length: int, wrong: int
) -> None:
    """However wrong the place that is given; and no answer stands nearer than the one that was chosen."""
    text = context[begin : begin + length]
    assume(text.strip())
    texts, (place,), moved = squad_json.checked_answers(context, [(text, wrong)], "here")
    assert texts == [text]
    assert context[place : place + len(text)] == text
    assert moved == (place != wrong)
    leading = len(context) - len(context.lstrip())
    standing = [at for at in range(len(context)) if context.startswith(text, at)]
    nearest = min(abs(at - wrong) for at in standing)
    assert place == wrong + leading or abs(place - wrong) == nearest


@given(st.text(" \t\u3000", max_size=4), st.text("xyz ", max_size=8), st.text("xyz ", max_size=8))
def test_answers_of_a_stripped_passage_are_found_again(blank: str, before: str, after: str) -> None:
    """What the hub's copies did: the passage stripped, the offsets left."""
    context = f"{blank}{before}Bob{after}"
    row = hub_row("q1", context.strip(), ("Bob", len(blank + before)))
    (one,) = hub(xquad.XQUAD, "test", [row], "en")
    assert one.starts == (context.strip().index("Bob"),)


def test_a_row_says_how_many_answers_were_moved() -> None:
    rows = list(squad_json.read_hub([hub_row("q1", "Ann met Bob.", ("Bob", 8), ("Ann", 2))], "en"))
    assert [(row["starts"], row["repair"]) for row in rows] == [
        ([8, 0], "answer_start put where the answer stands")
    ]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([("Carol", 0)], "'Carol' is not in the passage"),
        ([("", 0)], "the answer is empty; XTREME removes"),
        ([], "there is no answer; XTREME removes"),
    ],
)
def test_an_answer_that_is_nowhere_is_told_with_its_question(
    answers: list[tuple[str, int]], words: str
) -> None:
    with pytest.raises(DataError, match=f"question q9: .*{words}"):
        list(squad_json.read_hub([hub_row("q9", "Ann met Bob.", *answers)], "en"))


# TyDiQA


def nine_languages(count: int = 1) -> list[Asked]:
    """Questions of all nine languages with full ids, mixed."""
    return [
        (f"{name}-{number}5-{number}", f"{name} {number}?", "Bob", 10)
        for number in range(count)
        for name in tydiqa.NAMES.values()
    ]


@pytest.mark.parametrize(
    "path",
    [
        "tydiqa/tydiqa-goldp-v1.1-dev.json",
        "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-telugu.json",
        "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.te.dev.json",
    ],
)
def test_tydiqa_gives_the_language_that_was_asked_for(tmp_path: Path, path: str) -> None:
    """Even where a file of one language holds others."""
    folder = put(tmp_path, path, squad(nine_languages(2)))
    for split in ("test", "dev"):
        found = examples(tydiqa.TYDIQA, "te", split, folder)
        assert [(one.id, one.question, one.language) for one in found] == [
            ("telugu-05-0", "telugu 0?", "te"),
            ("telugu-15-1", "telugu 1?", "te"),
        ]
    rows = [hub_row(identity, CONTEXT, (text, start)) for identity, _, text, start in nine_languages(2)]
    assert [one.id for one in hub(tydiqa.TYDIQA, "test", rows, "ko")] == ["korean-05-0", "korean-15-1"]


def test_tydiqas_training_set_is_english_and_the_same_from_every_copy(tmp_path: Path) -> None:
    """XTREME's copy has the English questions with cut ids, which repeat; some copies of it have all languages."""
    asked = nine_languages(3)
    original = put(tmp_path / "goldp", "tydiqa/tydiqa-goldp-v1.1-train.json", squad(asked))
    path = "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json"
    cut = [("0", *one[1:]) for one in asked if one[0].startswith("english-")]
    xtreme = put(tmp_path / "xtreme", path, squad(cut))
    mixed = put(tmp_path / "mixed", path, squad(asked))
    found = examples(tydiqa.TYDIQA, "en", "train", original)
    assert [(one.id, one.question) for one in found] == [
        ("english-1", "english 0?"),
        ("english-2", "english 1?"),
        ("english-3", "english 2?"),
    ]
    assert found == examples(tydiqa.TYDIQA, "en", "train", xtreme)
    assert found == examples(tydiqa.TYDIQA, "en", "train", mixed)
    rows = [hub_row(identity, CONTEXT, (text, start)) for identity, _, text, start in asked]
    assert [one.id for one in hub(tydiqa.TYDIQA, "train", rows, "en")] == [one.id for one in found]


def test_tydiqa_has_no_training_set_in_other_languages(tmp_path: Path) -> None:
    put(tmp_path, "tydiqa/tydiqa-goldp-v1.1-train.json", squad(nine_languages()))
    assert sources.available(tydiqa.TYDIQA, "train", at(tmp_path)) == ("en",)
    with pytest.raises(DataError, match="no training set in 'ar'"):
        hub(tydiqa.TYDIQA, "train", [hub_row("arabic-1-1", CONTEXT, ("Bob", 10))], "ar")


def test_cut_ids_of_more_questions_than_the_english_ones_are_refused(tmp_path: Path) -> None:
    path = "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json"
    english = [("0", f"{number}?", "Bob", 10) for number in range(tydiqa.ENGLISH_TRAINING)]
    folder = put(tmp_path / "english", path, squad(english))
    assert len(examples(tydiqa.TYDIQA, "en", "train", folder)) == 3696
    folder = put(tmp_path / "more", path, squad([*english, BOB]))
    with pytest.raises(
        DataError, match=r"tydiqa\.goldp\.en\.train\.json.*3697 questions.*holds other languages"
    ):
        examples(tydiqa.TYDIQA, "en", "train", folder)


# What they are trained on


def test_squad_is_learned_once_for_all_that_need_it() -> None:
    assert dict(xquad.XQUAD.training) == dict(mlqa.MLQA.training) == dict(squad_v1.SQUAD_V1.training)
    for task in (xquad.XQUAD, mlqa.MLQA):
        assert all(one.task == "squad_v1" and one.language == "en" for one in task.training.values())
        assert {one.max_length for one in task.protocols.values()} == {384}
    assert tydiqa.TYDIQA.training["xtreme"].task == "tydiqa"
    assert tydiqa.TYDIQA.training["xtreme"].schedule == xquad.XQUAD.training["xtreme"].schedule


def test_xtreme_keeps_the_last_checkpoint_and_phang_chooses_in_english() -> None:
    for task in (xquad.XQUAD, mlqa.MLQA, tydiqa.TYDIQA):
        assert task.training["xtreme"].select is None
    assert xquad.XQUAD.training["phang2020"].select == ("squad_v1", "dev")
    assert tydiqa.TYDIQA.training["phang2020"].select == ("tydiqa", "test")


# Real data


def question_files(folder: Path) -> list[Path]:
    """Every file of questions with answers that the four tasks read."""
    found: dict[Path, None] = {}
    for task in (xquad.XQUAD, mlqa.MLQA, tydiqa.TYDIQA, squad_v1.SQUAD_V1):
        for source in (one for one in task.sources if isinstance(one, FilesSource)):
            for split in task.splits:
                for code in task.languages:
                    paths = [files.find(folder / path) for path in source.files(code, split).values()]
                    found.update((path, None) for path in paths if path is not None)
    return list(found)


def test_every_answer_of_the_official_files_stands_where_they_say(real_data: Path) -> None:
    """Nothing is repaired; XTREME's TyDiQA test files alone have no answers."""
    empty = []
    for path in question_files(real_data):
        entries = list(squad_json.entries(path))
        assert entries, path
        if all(text == "" for entry in entries for text, _ in entry.answers):
            empty.append(path.name)
            continue
        for entry in entries:
            assert squad_json.checked_answers(entry.context, entry.answers, entry.where)[2] == 0
    assert empty == [
        f"tydiqa.goldp.{name}"
        for name in "ar.dev.json.gz en.dev.json id.dev.json ko.dev.json ru.dev.json.gz sw.dev.json".split()
    ]


def test_xquad_asks_the_same_questions_in_every_language(real_data: Path) -> None:
    codes = sources.available(xquad.XQUAD, "test", at(real_data))
    assert len(codes) == 9
    asked = {tuple(one.id for one in examples(xquad.XQUAD, code, "test", real_data)) for code in codes}
    assert [len(ids) for ids in asked] == [1190]


def test_tydiqas_english_training_set_is_whole(real_data: Path) -> None:
    found = examples(tydiqa.TYDIQA, "en", "train", real_data)
    assert len(found) == len({one.id for one in found}) == 3696


def test_tydiqas_original_file_is_filtered_by_language(real_data: Path) -> None:
    """The archive's first lines: an Arabic question in the dev file, two Finnish ones in the training file."""
    folder = real_data / "format_samples"
    (one,) = examples(tydiqa.TYDIQA, "ar", "test", folder)
    assert one.context[one.starts[0] :].startswith("بطولتين")
    with pytest.raises(DataError, match="tydiqa/en/train: goldp holds no example"):
        examples(tydiqa.TYDIQA, "en", "train", folder)
