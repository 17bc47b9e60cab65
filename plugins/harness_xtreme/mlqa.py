"""MLQA: questions on Wikipedia passages in seven languages, asked in the passage's language. Knows its files and columns.

Paper: Lewis et al. 2020 (arXiv 1910.07475). XTREME (arXiv 2003.11080) trains on English SQuAD v1.1 and scores the
seven pairs in which question and passage have one language, with MLQA's own normalisation by language.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness import FilesSource, HubSource, MetricUse, Row, TaskSpec, hookimpl
from harness.formats.spans import Spans, question
from harness_xtreme import layout, schedules, squad_json

LANGUAGES = tuple("ar de en es hi vi zh".split())


def mlqa_files(language: str, split: str) -> Mapping[str, str]:
    """``mlqa/MLQA_V1/SPLIT/SPLIT-context-xx-question-xx.json``."""
    return {"questions": f"mlqa/MLQA_V1/{split}/{split}-context-{language}-question-{language}.json"}


def read_mlqa(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of the official files; the id is the question's own, the same in every language that has it."""
    return squad_json.read_questions(paths["questions"], language)


MLQA = TaskSpec(
    name="mlqa",
    version=1,
    title="MLQA extractive question answering, seven languages",
    format=Spans(),
    languages=LANGUAGES,
    splits=("test", "dev"),
    split="test",
    sources=(
        FilesSource(
            name="mlqa",
            files=mlqa_files,
            read=read_mlqa,
            passages=squad_json.read_passages,
            homepage="https://github.com/facebookresearch/MLQA",
        ),
        HubSource(
            name="hub",
            repository="google/xtreme",
            revision="ec5f1f46e9af79639a90684a7a70a956c4998f04",
            config=lambda language: f"MLQA.{language}.{language}",
            split=lambda split: {"test": "test", "dev": "validation"}.get(split),
            read=squad_json.read_hub,
            patterns=("README.md", *(f"MLQA.{code}.{code}/*" for code in LANGUAGES)),
        ),
    ),
    sample="harness_tasks:samples",
    example=question,
    metrics=(MetricUse(metric="mlqa_f1"), MetricUse(metric="mlqa_exact_match")),
    protocols=schedules.QUESTIONS,
    training=schedules.SQUAD,
    submission=layout.ANSWERS,
    sizes={
        "dev": {"ar": 517, "de": 512, "en": 1148, "es": 500, "hi": 507, "vi": 511, "zh": 504},
        "test": {"ar": 5335, "de": 4517, "en": 11590, "es": 5253, "hi": 4918, "vi": 5495, "zh": 5137},
    },
    licence="CC BY-SA 3.0",
    citation="""@inproceedings{lewis-etal-2020-mlqa,
  title = {{MLQA}: Evaluating Cross-lingual Extractive Question Answering},
  author = {Lewis, Patrick and Oguz, Barlas and Rinott, Ruty and Riedel, Sebastian and Schwenk, Holger},
  booktitle = {Proceedings of the 58th Annual Meeting of the Association for Computational Linguistics},
  year = {2020}
}""",
    homepage="https://github.com/facebookresearch/MLQA",
    notes=(
        "Question and passage have one language; the 42 other pairs of MLQA are not part of XTREME.",
        "Normalisation is MLQA's own: articles by language, Unicode punctuation, Chinese split by character.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """MLQA."""
    return (MLQA,)
