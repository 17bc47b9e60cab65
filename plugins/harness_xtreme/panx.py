"""PAN-X (WikiAnn): persons, organisations and places in Wikipedia sentences of 40 languages. Knows its files and rows.

Data: Pan et al. 2017 (ACL), in the balanced splits of Rahimi et al. 2019 (arXiv 1902.00193), as used in XTREME (arXiv
2003.11080). Training is in English. Thai and Chinese, and most of Japanese, have one character a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness import DataError, FilesSource, HubSource, MetricUse, Row, TaskSpec, Training, hookimpl
from harness.formats.tagging import Tagging, tagged_sentence
from harness_xtreme import layout, schedules, tag_columns, udpos_hub

LANGUAGES = tuple(
    """ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk tr et
    fi hu""".split()
)
# Order of the labels in the hub's files, and their number there.
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_THOUSAND = tuple("af bn hi kk ml mr ms sw ta te tl ur".split())
_HUNDRED = ("jv", "my", "yo")
_SIZES = {code: 100 if code in _HUNDRED else 1000 if code in _THOUSAND else 10_000 for code in LANGUAGES}


def xtreme_files(language: str, split: str) -> Mapping[str, str]:
    """XTREME's ``panx/{train,dev,test}-xx.tsv``; training files of other languages are never read."""
    return {"sentences": f"panx/{split}-{language}.tsv"} if split != "train" or language == "en" else {}


def original_files(language: str, split: str) -> Mapping[str, str]:
    """``panx_dataset/xx/{train,dev,test}`` of Rahimi et al."""
    return {"sentences": f"panx_dataset/{language}/{split}"} if split != "train" or language == "en" else {}


def read_xtreme(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of XTREME's files; its own script leaves the tags of the test sets out, which is a DataError here."""
    advice = "; XTREME distributes the test sets so: use the original data set, or add --split panx=dev"
    return _numbered(tag_columns.read_sentences(paths["sentences"], TAGS, advice=advice), language)


def read_passages(paths: Mapping[str, Path], _language: str) -> Iterator[str]:
    """Sentences of XTREME's files, with tags or without."""
    return tag_columns.read_passages(paths["sentences"])


def read_original(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of the original files, in which every word begins with its language (``en:``)."""
    return _numbered(tag_columns.read_sentences(paths["sentences"], TAGS, prefix=f"{language}:"), language)


def read_hub(rows: Iterable[Row], language: str) -> Iterator[Row]:
    """Rows of ``google/xtreme``, configuration ``PAN-X.xx``.

    Raises:
        DataError: A row has a label that there is not, or an empty word.
    """
    sentences: list[tag_columns.Sentence] = []
    for number, row in enumerate(rows, start=1):
        place = f"google/xtreme PAN-X.{language}, row {number}"
        words = [str(word) for word in row["tokens"]]
        if "" in words:
            raise DataError(f"{place}: word {words.index('') + 1} is empty")
        sentences.append((words, udpos_hub.tag_names(row["ner_tags"], TAGS, place)))
    return _numbered(sentences, language)


def _numbered(sentences: Iterable[tag_columns.Sentence], language: str) -> Iterator[Row]:
    for number, (words, tags) in enumerate(sentences, start=1):
        yield {"id": f"{language}-{number}", "words": words, "tags": tags}


PANX = TaskSpec(
    name="panx",
    version=1,
    title="PAN-X named entities, 40 languages",
    format=Tagging(labels=TAGS),
    languages=LANGUAGES,
    splits=("test", "dev", "train"),
    split="test",
    sources=(
        FilesSource(
            name="panx",
            files=original_files,
            read=read_original,
            homepage="https://github.com/afshinrahimi/mmner",
        ),
        FilesSource(
            name="xtreme",
            files=xtreme_files,
            read=read_xtreme,
            passages=read_passages,
            homepage="https://github.com/google-research/xtreme (scripts/download_data.sh)",
        ),
        HubSource(
            name="hub",
            repository=udpos_hub.REPOSITORY,
            revision=udpos_hub.REVISION,
            config=lambda language: f"PAN-X.{language}",
            split={"test": "test", "dev": "validation", "train": "train"}.get,
            read=read_hub,
            patterns=("README.md", "PAN-X.*/*"),
        ),
    ),
    sample="harness_tasks:samples",
    example=tagged_sentence,
    metrics=tuple(
        MetricUse(metric=name)
        for name in (
            "tag_f1",
            "tag_precision",
            "tag_recall",
            "entity_f1",
            "token_accuracy",
            "token_macro_f1",
        )
    ),
    protocols=schedules.SENTENCES,
    training={
        "xtreme": Training(task="panx", schedule=schedules.XTREME_PANX, select=("panx", "dev")),
        "phang2020": Training(task="panx", schedule=schedules.PHANG_TAGGING, select=("panx", "dev")),
    },
    submission=layout.TAGS,
    sizes={"test": _SIZES, "dev": _SIZES, "train": {"en": 20_000}},
    licence="none stated; the text is Wikipedia's, CC BY-SA 3.0",
    citation="""@inproceedings{pan-etal-2017-cross,
  title = {Cross-lingual Name Tagging and Linking for 282 Languages},
  author = {Pan, Xiaoman and Zhang, Boliang and May, Jonathan and Nothman, Joel and Knight, Kevin and Ji, Heng},
  booktitle = {Proceedings of the 55th Annual Meeting of the Association for Computational Linguistics},
  year = {2017}
}
@inproceedings{rahimi-etal-2019-massively,
  title = {Massively Multilingual Transfer for {NER}},
  author = {Rahimi, Afshin and Li, Yuan and Cohn, Trevor},
  booktitle = {Proceedings of the 57th Annual Meeting of the Association for Computational Linguistics},
  year = {2019}
}""",
    homepage="https://github.com/afshinrahimi/mmner",
    notes=(
        "Tags are automatic, made from Wikipedia's links.",
        "XTREME distributes the test sets without tags: the original data set or the hub has them.",
        "Javanese, Burmese and Yoruba have 100 sentences each.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """PAN-X."""
    return (PANX,)
