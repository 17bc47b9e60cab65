"""XNLI: does one sentence follow from another, in 15 languages. Knows its files and hub columns.

Paper: Conneau et al. 2018 (EMNLP); XTREME (arXiv 2003.11080) trains on English MultiNLI and scores accuracy per language.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from harness import FilesSource, HubSource, MetricUse, Row, TaskSpec, Training, hookimpl
from harness.formats.classification import Classification, text_pair
from harness_xtreme import layout, pairs, schedules
from harness_xtreme.checked import read_json_lines, sound_member

LABELS = layout.NLI_WORDS
LANGUAGES = tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split())
_HUB_SPLIT = {"test": "test", "dev": "validation"}
_ADVICE = (
    "put xnli/test-labels.txt (one label per line) there, use the files of XNLI-1.0, or add --split xnli=dev"
)


def xtreme_files(language: str, split: str) -> Mapping[str, str]:
    """``xnli/SPLIT-xx.tsv``; the labels of the test lines, which all languages share, may lie in ``xnli/test-labels.txt``."""
    paths = {"pairs": f"xnli/{split}-{language}.tsv"}
    return {**paths, "labels": "xnli/test-labels.txt"} if split == "test" else paths


def read_xtreme(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of XTREME's files; the id is the line's number, counting from 1."""
    return pairs.read_pairs(paths, LABELS, first=1, advice=_ADVICE)


def original_files(language: str, split: str, *, suffix: str) -> Mapping[str, str]:
    """``xnli/XNLI-1.0/xnli.SPLIT.tsv`` or ``.jsonl``, with all languages in one file."""
    return {"pairs": f"xnli/XNLI-1.0/xnli.{split}.{suffix}"}


_COLUMNS = ("language", "gold_label", "sentence1", "sentence2")


def read_original(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of one language; the id is the number among its lines, counting from 1, as in XTREME's files."""
    entries = (
        (where, code, label, text, other)
        for where, (code, label, text, other) in pairs.headed_fields(paths["pairs"], _COLUMNS)
    )
    return pairs.of_language(entries, language, LABELS)


def read_original_json(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """The same from JSON Lines."""
    entries = (
        (
            where,
            sound_member(value, "language", where),
            sound_member(value, "gold_label", where),
            sound_member(value, "sentence1", where),
            sound_member(value, "sentence2", where),
        )
        for where, value in read_json_lines(paths["pairs"])
    )
    return pairs.of_language(entries, language, LABELS)


def read_hub(rows: Iterable[Row], language: str) -> Iterator[Row]:
    """Rows of ``facebook/xnli``, one configuration per language."""
    for number, row in enumerate(rows, start=1):
        label = pairs.numbered(row["label"], LABELS, f"row {number}")
        yield pairs.pair(str(number), row["premise"], row["hypothesis"], label)


XNLI = TaskSpec(
    name="xnli",
    version=1,
    title="XNLI natural language inference, 15 languages",
    format=Classification(labels=LABELS),
    languages=LANGUAGES,
    splits=("test", "dev"),
    split="test",
    sources=(
        FilesSource(
            name="xnli-1.0",
            files=partial(original_files, suffix="tsv"),
            read=read_original,
            homepage="https://github.com/facebookresearch/XNLI",
        ),
        FilesSource(
            name="xnli-1.0-jsonl",
            files=partial(original_files, suffix="jsonl"),
            read=read_original_json,
            homepage="https://github.com/facebookresearch/XNLI",
        ),
        FilesSource(
            name="xtreme",
            files=xtreme_files,
            read=read_xtreme,
            passages=pairs.read_passages,
            homepage="https://github.com/google-research/xtreme (scripts/download_data.sh)",
            optional=frozenset({"labels"}),
        ),
        HubSource(
            name="hub",
            repository="facebook/xnli",
            revision="b8dd5d7af51114dbda02c0e3f6133f332186418e",
            config=lambda language: language,
            split=_HUB_SPLIT.get,
            read=read_hub,
            # A configuration would load only where its machine-translated training set lies too, gigabytes in all.
            patterns=("README.md", "*/validation-*", "*/test-*"),
            data_files=lambda language, split: f"{language}/{_HUB_SPLIT[split]}-*.parquet",
        ),
    ),
    sample="harness_tasks:samples",
    example=text_pair,
    metrics=(MetricUse(metric="accuracy"), MetricUse(metric="macro_f1")),
    protocols=schedules.SENTENCES,
    training={
        "xtreme": Training(task="mnli", schedule=schedules.XTREME_XNLI, select=("xnli", "dev")),
        "phang2020": Training(task="mnli", schedule=schedules.PHANG_XNLI, select=("mnli", "dev")),
    },
    submission=layout.NLI,
    sizes={"dev": dict.fromkeys(LANGUAGES, 2490), "test": dict.fromkeys(LANGUAGES, 5010)},
    licence="CC BY-NC 4.0",
    citation="""@inproceedings{conneau-etal-2018-xnli,
  title = {{XNLI}: Evaluating Cross-lingual Sentence Representations},
  author = {Conneau, Alexis and Rinott, Ruty and Lample, Guillaume and Williams, Adina and Bowman, Samuel and
    Schwenk, Holger and Stoyanov, Veselin},
  booktitle = {Proceedings of the 2018 Conference on Empirical Methods in Natural Language Processing},
  year = {2018}
}""",
    homepage="https://github.com/facebookresearch/XNLI",
    notes=(
        "The head is trained on English MultiNLI (task mnli); XNLI's own training sets are machine translations.",
        "XTREME removes the labels of its test files; they are read from xnli/test-labels.txt where that lies beside them.",
        "Line i is the same item in every language, and its number is the id.",
        "On the hub a language comes with its translated training set, so fetching all languages takes some 0.7 GB.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """XNLI."""
    return (XNLI,)
