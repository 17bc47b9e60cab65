"""XQuAD: 1,190 SQuAD questions with their passages, translated by people. Knows its files and hub columns.

Paper: Artetxe, Ruder & Yogatama 2020 (arXiv 1910.11856). XTREME (arXiv 2003.11080) trains on English SQuAD v1.1 and
scores 11 of its 12 languages (all but Romanian) with SQuAD's English normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness import FilesSource, HubSource, MetricUse, Row, TaskSpec, hookimpl
from harness.formats.spans import Spans, question
from harness_xtreme import layout, schedules, squad_json

LANGUAGES = tuple("ar de el en es hi ro ru th tr vi zh".split())


def xquad_files(language: str, split: str) -> Mapping[str, str]:
    """``xquad/xquad.xx.json``, the same for test and dev."""
    return {"questions": f"xquad/xquad.{language}.json"}


def read_xquad(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of the official files; the id is the question's own, the same in every language."""
    return squad_json.read_questions(paths["questions"], language)


XQUAD = TaskSpec(
    name="xquad",
    version=1,
    title="XQuAD extractive question answering, 12 languages",
    format=Spans(),
    languages=LANGUAGES,
    splits=("test", "dev"),
    split="test",
    sources=(
        FilesSource(
            name="xquad",
            files=xquad_files,
            read=read_xquad,
            passages=squad_json.read_passages,
            homepage="https://github.com/google-deepmind/xquad",
        ),
        HubSource(
            name="hub",
            repository="google/xquad",
            revision="51adfef1c1287aab1d2d91b5bead9bcfb9c68583",
            config=lambda language: f"xquad.{language}",
            split=lambda split: "validation",
            read=squad_json.read_hub,
        ),
    ),
    sample="harness_tasks:samples",
    example=question,
    metrics=tuple(
        MetricUse(metric=name)
        for name in ("squad_f1", "squad_exact_match", "answer_f1", "answer_exact_match")
    ),
    protocols=schedules.QUESTIONS,
    training=schedules.SQUAD,
    submission=layout.ANSWERS,
    sizes={"test": dict.fromkeys(LANGUAGES, 1190)},
    licence="CC BY-SA 4.0",
    citation="""@inproceedings{artetxe-etal-2020-cross,
  title = {On the Cross-lingual Transferability of Monolingual Representations},
  author = {Artetxe, Mikel and Ruder, Sebastian and Yogatama, Dani},
  booktitle = {Proceedings of the 58th Annual Meeting of the Association for Computational Linguistics},
  year = {2020}
}""",
    homepage="https://github.com/google-deepmind/xquad",
    notes=(
        "There is no separate dev set: split dev is the test data.",
        "Main score is XTREME's: SQuAD's English normalisation for every language; answer_f1 normalises by language.",
        "The English questions are part of SQuAD's dev set.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """XQuAD."""
    return (XQUAD,)
