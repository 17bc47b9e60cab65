"""A real encoder with heads trained for a few steps on real data: what was read, scored and left out, by recount.

all-MiniLM-L6-v2 knows English only, so the scores mean little; counts, ids, gold answers and input health must be exact.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import harness
from harness import Run

FEW = [
    "max_steps=10",
    "batch_size=4",
    "learning_rate=5e-5",
    "warmup=0",
    "select=last",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests of this module share."""
    return tmp_path_factory.mktemp("real-heads")


@pytest.fixture
def run(minilm: Path, real_data: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Evaluates MiniLM on real data with a head of ten steps."""
    monkeypatch.setenv("HARNESS_HOME", str(home))

    def evaluate(name: str, tasks: str, languages: str, **options: Any) -> Run:
        chosen: dict[str, Any] = {"limit": 40, "max_length": 96, **options}
        return harness.evaluate(
            model=str(minilm),
            tasks=tasks,
            languages=[languages],
            data=str(real_data),
            output=home / name,
            hyper=FEW,
            **chosen,
        )

    return evaluate


def content(path: Path) -> str:
    """A text file, packed or not."""
    packed = path.with_name(f"{path.name}.gz")
    data = path.read_bytes() if path.is_file() else gzip.decompress(packed.read_bytes())
    return data.decode("utf-8")


def column(run: Run, task: str, language: str, name: str) -> list[Any]:
    """One column of a prediction file."""
    (path,) = (run.folder / "predictions" / task).rglob(f"{language}.parquet")
    values: list[str] = pq.read_table(path)[name].to_pylist()
    return values if name == "id" else [json.loads(value) for value in values]


def main_record(run: Run, task: str, language: str) -> Any:
    """The record that stands for a task in a language."""
    (found,) = [
        record for record in run.records if record.main and (record.task, record.language) == (task, language)
    ]
    return found


def recounted(minilm: Path, words: list[str]) -> tuple[int, int]:
    """Sub-words and unknown ones of words cut one at a time by plain transformers."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(minilm))
    cut = [
        tokenizer(word, add_special_tokens=False)["input_ids"] or [tokenizer.unk_token_id] for word in words
    ]
    return sum(map(len, cut)), sum(row.count(tokenizer.unk_token_id) for row in cut)


def sentences(text: str) -> list[tuple[list[str], list[str]]]:
    """Words and tags of XTREME's tab-separated files."""
    blocks = [block.split("\n") for block in text.replace("\r", "").strip("\n").split("\n\n")]
    return [
        ([line.split("\t")[0] for line in block], [line.split("\t")[-1] for line in block])
        for block in blocks
    ]


@pytest.mark.full
def test_names_in_three_languages(run: Callable[..., Run], minilm: Path, real_data: Path) -> None:
    found = run("panx", "panx", "en,de,sw", split="dev", train_from="train:300")
    assert not found.failures
    for language in ("en", "de", "sw"):
        given = sentences(content(real_data / "panx" / f"dev-{language}.tsv"))
        ids = column(found, "panx", language, "id")
        assert len(ids) == 40
        chosen = [given[int(identity.rpartition("-")[2]) - 1] for identity in ids]
        assert column(found, "panx", language, "gold") == [tags for _, tags in chosen]
        predicted = column(found, "panx", language, "prediction")
        assert [len(tags) for tags in predicted] == [len(words) for words, _ in chosen]
        record = main_record(found, "panx", language)
        words = [word for sentence, _ in chosen for word in sentence]
        pieces, unknown = recounted(minilm, words)
        assert (record.n, record.limited, record.split) == (40, 40, "dev")
        assert record.inputs["words"] == len(words)
        assert (record.inputs["pieces"], record.inputs["unknown"]) == (pieces, unknown)
        assert (record.inputs["lost"], record.inputs["examples"]) == (0, 40)
        assert (record.trained["examples"], record.trained["steps"]) == (300, 10)
        assert record.trained["split"] == "train rows 0-299"
        assert any("trained on panx/train rows 0-299" in caveat for caveat in record.caveats)


@pytest.mark.full
def test_inference_in_three_languages_on_the_same_items(run: Callable[..., Run], real_data: Path) -> None:
    found = run("xnli", "xnli", "en,de,sw", train_from="train:100", limit=30)
    assert not found.failures
    labels = content(real_data / "xnli/test-labels.txt").split()
    ids = {language: column(found, "xnli", language, "id") for language in ("en", "de", "sw")}
    assert ids["en"] == ids["de"] == ids["sw"]
    assert len(ids["en"]) == 30
    for language, chosen in ids.items():
        gold = [labels[int(identity) - 1] for identity in chosen]
        assert column(found, "xnli", language, "gold") == gold
        record = main_record(found, "xnli", language)
        predicted = column(found, "xnli", language, "prediction")
        right = sum(one == other for one, other in zip(gold, predicted, strict=True))
        assert record.value == pytest.approx(100 * right / 30)
        assert record.inputs["rows"] == record.inputs["examples"] == record.n == 30
        assert record.trained["task"] == "mnli"
    assert main_record(found, "xnli", "en").inputs["unknown"] == 0


@pytest.mark.full
def test_parts_of_speech_from_the_treebanks(run: Callable[..., Run], minilm: Path) -> None:
    found = run("udpos", "udpos", "en,zh", train_from="train:100", limit=20)
    assert not found.failures
    for language in ("en", "zh"):
        record = main_record(found, "udpos", language)
        gold = column(found, "udpos", language, "gold")
        assert len(gold) == record.n == 20
        assert record.inputs["words"] == sum(len(tags) for tags in gold)
        assert record.inputs["lost"] == 0
    english, chinese = (main_record(found, "udpos", language).inputs for language in ("en", "zh"))
    assert chinese["unknown"] / chinese["pieces"] > 0.3 > english["unknown"] / english["pieces"]


@pytest.mark.full
def test_answers_are_the_contexts_own_characters(run: Callable[..., Run], real_data: Path) -> None:
    found = run("xquad", "xquad", "en,zh", train_from="squad_v1/train:40", limit=12, max_length=256)
    assert not found.failures
    for language in ("en", "zh"):
        data = json.loads(content(real_data / "xquad" / f"xquad.{language}.json"))["data"]
        contexts = {
            question["id"]: paragraph["context"]
            for article in data
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        }
        ids = column(found, "xquad", language, "id")
        assert len(ids) == 12
        assert set(ids) <= set(contexts)
        for identity, answer in zip(ids, column(found, "xquad", language, "prediction"), strict=True):
            text, start = answer["text"], answer["start"]
            assert contexts[identity][start : start + len(text)] == text != ""
        record = main_record(found, "xquad", language)
        assert record.inputs["rows"] >= record.inputs["examples"] == record.n == 12
    assert column(found, "xquad", "en", "id") == column(found, "xquad", "zh", "id")


@pytest.mark.full
def test_questions_that_were_learned_from_squad_are_not_scored_in_xquad(
    run: Callable[..., Run], real_data: Path
) -> None:
    """431 English questions of XQuAD are among those of SQuAD's dev set that are at hand, under their ids."""
    found = run("leak", "xquad", "en", train_from="squad_v1/dev:1500", limit=20, max_length=64)
    (record,) = [record for record in found.records if record.main]
    data = json.loads(content(real_data / "squad/v1.1/dev-v1.1.json"))["data"]
    learned = [
        question["id"]
        for article in data
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ][:1500]
    assert not set(learned) & set(column(found, "xquad", "en", "id"))
    assert any("were learned and are left out" in caveat for caveat in record.caveats)


@pytest.mark.full
def test_a_split_that_taught_the_head_is_scored_without_what_was_learned(run: Callable[..., Run]) -> None:
    """PAWS-X has no training set at hand: the first half of its English dev set serves."""
    found = run("pawsx", "pawsx", "en,de", split="dev", train_from="dev:0-499", limit=30)
    assert not found.failures
    for language in ("en", "de"):
        ids = [int(identity) for identity in column(found, "pawsx", language, "id")]
        assert len(ids) == 30
        assert min(ids) > 500
        caveats = main_record(found, "pawsx", language).caveats
        assert "500 examples of this split were learned and are left out" in caveats


def test_a_training_set_that_is_not_at_hand_is_told(run: Callable[..., Run]) -> None:
    with pytest.raises(harness.DataError) as caught:
        run("missing", "pawsx", "en", split="dev")
    for word in ("pawsx: its head must be trained", "pawsx/en/train", "train-en.tsv"):
        assert word in str(caught.value)
