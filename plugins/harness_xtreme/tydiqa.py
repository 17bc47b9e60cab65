"""TyDiQA-GoldP: questions asked by speakers of nine languages, on a given Wikipedia passage. Knows files and columns.

Paper: Clark et al. 2020 (TACL); XTREME (arXiv 2003.11080) trains on the 3,696 English questions and scores the dev set
of every language, English included. Official files hold all languages in one; the first part of a question's id says
which it has. A training set read here is English and nothing else, whatever the file holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from harness import DataError, FilesSource, HubSource, MetricUse, Row, TaskSpec, Training, hookimpl
from harness.formats.spans import Spans, question
from harness_xtreme import layout, schedules, squad_json
from harness_xtreme.squad_json import Entry

NAMES = {
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}
ENGLISH_TRAINING = 3696
_HOME = "https://github.com/google-research-datasets/tydiqa"
_XTREME = "https://github.com/google-research/xtreme (scripts/download_data.sh)"


def tydiqa_files(language: str, split: str, *, dev: str, train: str) -> Mapping[str, str]:
    """The file of the dev set, which is XTREME's test set, or of the training set, which there is in English only."""
    if split != "train":
        return {"questions": dev.format(code=language, name=NAMES[language])}
    return {"training": train} if language == "en" else {}


def read_tydiqa(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of one language, from a file of that language or of all."""
    if "training" in paths:
        return training_rows(squad_json.entries(paths["training"]), language)
    return scored_rows(squad_json.entries(paths["questions"]), language)


def scored_rows(entries: Iterable[Entry], language: str) -> Iterator[Row]:
    """Rows of the questions of one language; the id is the question's own, e.g. ``finnish-7633091408814529542-0``."""
    return squad_json.rows(
        (entry for entry in entries if entry.id.partition("-")[0] == NAMES[language]), language
    )


def training_rows(entries: Iterable[Entry], language: str) -> Iterator[Row]:
    """Rows of the English training questions, with ids ``english-1`` … in order.

    XTREME cuts the ids of its training file down to their last number, so that they repeat; therefore they are counted
    in every copy.

    Raises:
        DataError: Another language is asked for, or there are more questions than the English ones, so that those
            without a language in their id must be of others too.
    """
    if language != "en":
        raise DataError(f"there is no training set in '{language}'; XTREME trains on English alone")
    number = 0
    counted: list[Entry] = []
    for entry in entries:
        name = entry.id.partition("-")[0]
        if name == "english" or name not in NAMES.values():
            number += 1
            counted.append(entry._replace(id=f"english-{number}"))
    if number > ENGLISH_TRAINING:
        raise DataError(
            f"{counted[-1].where}: {number} questions that could be English where TyDiQA has {ENGLISH_TRAINING}; "
            "the file holds other languages, use tydiqa-goldp-v1.1-train.json"
        )
    return squad_json.rows(counted, language)


TYDIQA = TaskSpec(
    name="tydiqa",
    version=1,
    title="TyDiQA-GoldP extractive question answering, nine languages",
    format=Spans(),
    languages=tuple(NAMES),
    splits=("test", "dev", "train"),
    split="test",
    sources=(
        FilesSource(
            name="goldp",
            files=partial(
                tydiqa_files,
                dev="tydiqa/tydiqa-goldp-v1.1-dev.json",
                train="tydiqa/tydiqa-goldp-v1.1-train.json",
            ),
            read=read_tydiqa,
            passages=squad_json.read_passages,
            homepage=_HOME,
        ),
        FilesSource(
            name="goldp-by-language",
            files=partial(
                tydiqa_files,
                dev="tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json",
                train="tydiqa/tydiqa-goldp-v1.1-train.json",
            ),
            read=read_tydiqa,
            passages=squad_json.read_passages,
            homepage=_HOME,
        ),
        FilesSource(
            name="xtreme",
            files=partial(
                tydiqa_files,
                dev="tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{code}.dev.json",
                train="tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json",
            ),
            read=read_tydiqa,
            passages=squad_json.read_passages,
            homepage=_XTREME,
        ),
        HubSource(
            name="hub",
            repository="google-research-datasets/tydiqa",
            revision="da78f23f9119363459acbaf46bf89426ff26c259",
            config=lambda language: "secondary_task",
            split=lambda split: None if split == "train" else "validation",
            read=lambda rows, language: scored_rows(squad_json.hub_entries(rows), language),
            patterns=("README.md", "secondary_task/*"),
        ),
        HubSource(
            name="hub-training",
            repository="google-research-datasets/tydiqa",
            revision="da78f23f9119363459acbaf46bf89426ff26c259",
            config=lambda language: "secondary_task",
            split=lambda split: "train" if split == "train" else None,
            read=lambda rows, language: training_rows(squad_json.hub_entries(rows), language),
            patterns=("README.md", "secondary_task/*"),
        ),
    ),
    sample="harness_tasks:samples",
    example=question,
    metrics=tuple(
        MetricUse(metric=name)
        for name in ("squad_f1", "squad_exact_match", "answer_f1", "answer_exact_match")
    ),
    protocols=schedules.QUESTIONS,
    training={
        "xtreme": Training(task="tydiqa", schedule=schedules.XTREME_QUESTIONS),
        "phang2020": Training(task="tydiqa", schedule=schedules.PHANG_QUESTIONS, select=("tydiqa", "test")),
    },
    submission=layout.ANSWERS,
    sizes={
        "train": {"en": ENGLISH_TRAINING},
        "test": {
            "ar": 921,
            "bn": 113,
            "en": 440,
            "fi": 782,
            "id": 565,
            "ko": 276,
            "ru": 812,
            "sw": 499,
            "te": 669,
        },
    },
    licence="Apache-2.0",
    citation="""@article{clark-etal-2020-tydi,
  title = {{T}y{D}i {QA}: A Benchmark for Information-Seeking Question Answering in Typologically Diverse Languages},
  author = {Clark, Jonathan H. and Choi, Eunsol and Collins, Michael and Garrette, Dan and Kwiatkowski, Tom and
    Nikolaev, Vitaly and Palomaki, Jennimaria},
  journal = {Transactions of the Association for Computational Linguistics},
  volume = {8},
  year = {2020}
}""",
    homepage=_HOME,
    notes=(
        "Test is TyDiQA's dev set, as in XTREME; there is no separate dev set: split dev is the test data.",
        "XTREME empties the answers of its test files: score from the original files or the hub.",
        "Trained on the 3,696 English questions alone; jiant's copy of this step trains on all nine languages.",
        "Protocol phang2020 chooses the checkpoint on English test data, for lack of another set.",
        "Main score is XTREME's: SQuAD's English normalisation for every language; answer_f1 normalises by language.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """TyDiQA-GoldP."""
    return (TYDIQA,)
