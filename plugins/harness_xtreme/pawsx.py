"""PAWS-X: do two sentences with much the same words mean the same, in seven languages. Knows its files and hub columns.

Paper: Yang et al. 2019 (arXiv 1908.11828); XTREME (arXiv 2003.11080) trains on the English part and scores accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness import DataError, FilesSource, HubSource, MetricUse, Row, TaskSpec, Training, hookimpl
from harness.formats.classification import Classification, text_pair
from harness_xtreme import layout, pairs, schedules

LABELS = layout.PARAPHRASE_WORDS
LANGUAGES = tuple("de en es fr ja ko zh".split())
_ADVICE = "use the original files below pawsx/x-final or the hub, or add --split pawsx=dev"
_ORIGINAL = {"train": "train", "dev": "dev_2k", "test": "test_2k"}
_REPOSITORY = "google-research-datasets/paws-x"
_REVISION = "4cd8187c404bda33cb1f62b49b001115862acf37"
_PATTERNS = ("README.md", *(f"{code}/*" for code in LANGUAGES))


def xtreme_files(language: str, split: str) -> Mapping[str, str]:
    """``pawsx/SPLIT-xx.tsv``; there is an English training set only."""
    return {} if split == "train" and language != "en" else {"pairs": f"pawsx/{split}-{language}.tsv"}


def read_xtreme(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of XTREME's files; the id is the line's number, counting from 1."""
    return pairs.read_pairs(paths, LABELS, first=1, advice=_ADVICE)


def original_files(language: str, split: str) -> Mapping[str, str]:
    """``pawsx/x-final/xx/{train,dev_2k,test_2k}.tsv``; the translated training sets are left out."""
    if split == "train" and language != "en":
        return {}
    return {"pairs": f"pawsx/x-final/{language}/{_ORIGINAL[split]}.tsv"}


def read_original(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of the original files; the id is the number of the line behind the header, as in XTREME's files."""
    entries = pairs.headed_fields(paths["pairs"], ("sentence1", "sentence2", "label"))
    for number, (where, (text, other, label)) in enumerate(entries, start=1):
        yield pairs.pair(str(number), text, other, pairs.known(label.strip(), LABELS, where))


def read_hub(rows: Iterable[Row], language: str) -> Iterator[Row]:
    """Rows of ``google-research-datasets/paws-x``, one configuration per language."""
    for number, row in enumerate(rows, start=1):
        label = pairs.numbered(row["label"], LABELS, f"row {number}")
        yield pairs.pair(str(number), row["sentence1"], row["sentence2"], label)


def read_hub_training(rows: Iterable[Row], language: str) -> Iterator[Row]:
    """The same for the training set, of which only the English one is no machine translation; else DataError."""
    if language != "en":
        raise DataError(
            f"the training set of '{language}' is a machine translation; there is only the English one"
        )
    return read_hub(rows, language)


PAWSX = TaskSpec(
    name="pawsx",
    version=1,
    title="PAWS-X paraphrase identification, seven languages",
    format=Classification(labels=LABELS),
    languages=LANGUAGES,
    splits=("test", "dev", "train"),
    split="test",
    sources=(
        FilesSource(
            name="x-final",
            files=original_files,
            read=read_original,
            homepage="https://github.com/google-research-datasets/paws/tree/master/pawsx",
        ),
        FilesSource(
            name="xtreme",
            files=xtreme_files,
            read=read_xtreme,
            passages=pairs.read_passages,
            homepage="https://github.com/google-research/xtreme (scripts/download_data.sh)",
        ),
        HubSource(
            name="hub",
            repository=_REPOSITORY,
            revision=_REVISION,
            config=lambda language: language,
            split=lambda split: {"test": "test", "dev": "validation"}.get(split),
            read=read_hub,
            patterns=_PATTERNS,
        ),
        HubSource(
            name="hub-training",
            repository=_REPOSITORY,
            revision=_REVISION,
            config=lambda language: language,
            split=lambda split: "train" if split == "train" else None,
            read=read_hub_training,
            patterns=_PATTERNS,
        ),
    ),
    sample="harness_tasks:samples",
    example=text_pair,
    metrics=(MetricUse(metric="accuracy"), MetricUse(metric="macro_f1")),
    protocols=schedules.SENTENCES,
    training={
        "xtreme": Training(task="pawsx", schedule=schedules.XTREME_PAWSX, select=("pawsx", "dev")),
        "phang2020": Training(task="pawsx", schedule=schedules.PHANG_PAWSX, select=("pawsx", "dev")),
    },
    submission=layout.PARAPHRASE,
    sizes={
        "train": {"en": 49401},
        "dev": dict.fromkeys(LANGUAGES, 2000),
        "test": dict.fromkeys(LANGUAGES, 2000),
    },
    licence="free for any purpose, acknowledgement appreciated",
    citation="""@inproceedings{yang-etal-2019-paws,
  title = {{PAWS}-{X}: A Cross-lingual Adversarial Dataset for Paraphrase Identification},
  author = {Yang, Yinfei and Zhang, Yuan and Tar, Chris and Baldridge, Jason},
  booktitle = {Proceedings of the 2019 Conference on Empirical Methods in Natural Language Processing},
  year = {2019}
}""",
    homepage="https://github.com/google-research-datasets/paws/tree/master/pawsx",
    notes=(
        "XTREME removes the labels of its test files: score test from the original files or the hub.",
        "Sentences that were not translated are the string NS; they are kept and scored, as XTREME does.",
        "Line i is the same item in every language, and its number is the id.",
        "Only the English training set is offered; those of the other languages are machine translations.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """PAWS-X."""
    return (PAWSX,)
