"""UDPOS: parts of speech of Universal Dependencies 2.5 in 33 languages, as XTREME has them. Knows files and treebanks.

``udpos`` scores surface tokens as XTREME (arXiv 2003.11080) does; ``udpos-syntactic`` is the same over syntactic words
("zum" is "zu dem") and in no suite. Training is in English.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness import FilesSource, HubSource, MetricUse, Row, TaskSpec, Training, hookimpl
from harness.formats.tagging import Tagging, tagged_sentence
from harness_xtreme import conllu, layout, schedules, tag_columns, udpos_hub
from harness_xtreme.udpos_hub import TAGS

# Treebanks of XTREME's version, UD 2.5, by language; three of which all words are hidden (NYUAD, ESL, BCCWJ) left out.
TREEBANKS: Mapping[str, tuple[str, ...]] = {
    code: tuple(names.split())
    for code, names in (
        line.strip().split(maxsplit=1)
        for line in """af Afrikaans-AfriBooms
        ar Arabic-PADT Arabic-PUD
        bg Bulgarian-BTB
        de German-GSD German-HDT German-LIT German-PUD
        el Greek-GDT
        en English-EWT English-GUM English-LinES English-ParTUT English-Pronouns English-PUD
        es Spanish-AnCora Spanish-GSD Spanish-PUD
        et Estonian-EDT Estonian-EWT
        eu Basque-BDT
        fa Persian-Seraji
        fi Finnish-FTB Finnish-PUD Finnish-TDT
        fr French-FQB French-FTB French-GSD French-ParTUT French-PUD French-Sequoia French-Spoken
        he Hebrew-HTB
        hi Hindi-HDTB Hindi-PUD
        hu Hungarian-Szeged
        id Indonesian-GSD Indonesian-PUD
        it Italian-ISDT Italian-ParTUT Italian-PoSTWITA Italian-PUD Italian-TWITTIRO Italian-VIT
        ja Japanese-GSD Japanese-Modern Japanese-PUD
        kk Kazakh-KTB
        ko Korean-GSD Korean-Kaist Korean-PUD
        mr Marathi-UFAL
        nl Dutch-Alpino Dutch-LassySmall
        pt Portuguese-Bosque Portuguese-GSD Portuguese-PUD
        ru Russian-GSD Russian-PUD Russian-SynTagRus Russian-Taiga
        ta Tamil-TTB
        te Telugu-MTG
        th Thai-PUD
        tl Tagalog-TRG
        tr Turkish-GB Turkish-IMST Turkish-PUD
        ur Urdu-UDTB
        vi Vietnamese-VTB
        yo Yoruba-YTB
        zh Chinese-CFL Chinese-GSD Chinese-GSDSimp Chinese-HK Chinese-PUD""".splitlines()
    )
}
# Treebanks without a dev set; those of English without a training set are the same.
_TEST_ONLY = frozenset(
    """Chinese-CFL Chinese-HK English-Pronouns Estonian-EWT French-FQB German-LIT Japanese-Modern Kazakh-KTB Tagalog-TRG
    Turkish-GB Yoruba-YTB""".split()
)
_SAMPLE = "-Sample"
# Sentences. Of German, French and Russian the number that XTREME's script gives is not known for certain.
_TEST_SIZES = {
    pair[:2]: int(pair[3:])
    for pair in """af-425 ar-1680 eu-1799 bg-1116 nl-1471 en-5440 et-3760 fi-4422 el-456 he-491 hi-2684 hu-449 id-1557
    it-3518 ja-2372 kk-1047 ko-4276 zh-3455 mr-47 fa-600 pt-2681 es-3147 tl-55 ta-120 te-146 th-1000 tr-4785 ur-535
    vi-800 yo-100""".split()
}


def xtreme_files(language: str, split: str) -> Mapping[str, str]:
    """XTREME's ``udpos/{train,dev,test}-xx.tsv``; training files of other languages are never read."""
    return {"sentences": f"udpos/{split}-{language}.tsv"} if split != "train" or language == "en" else {}


def treebank_files(language: str, split: str) -> Mapping[str, str]:
    """``ud/UD_<Language>-<Treebank>/xx_yyy-ud-<split>.conllu`` of each treebank that has the split, by treebank.

    Last comes ``UD_<Language>-Sample``, the name of the built-in sample's, which is no treebank of Universal Dependencies.
    """
    names = _treebanks(language, split)
    if not names or (split == "train" and language != "en"):
        return {}
    names.append(names[0].partition("-")[0] + _SAMPLE)
    return {name: f"ud/UD_{name}/{_prefix(language, name)}-ud-{split}.conllu" for name in names}


def _treebanks(language: str, split: str) -> list[str]:
    """XTREME's treebanks with this split, in its order: that of the file names."""
    names = TREEBANKS[language]
    return sorted(
        (name for name in names if split == "test" or not (name in _TEST_ONLY or name.endswith("-PUD"))),
        key=partial(_prefix, language),
    )


def _prefix(language: str, treebank: str) -> str:
    return f"{language}_{treebank.partition('-')[2].lower()}"


def read_xtreme(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of XTREME's files."""
    advice = "; XTREME's current script writes the test sets so: use the treebanks, or add --split udpos=dev"
    sentences = tag_columns.read_sentences(paths["sentences"], TAGS, advice=advice)
    for number, (words, tags) in enumerate(sentences, start=1):
        yield {"id": f"{language}-{number}", "words": words, "tags": tags}


def read_passages(paths: Mapping[str, Path], _language: str) -> Iterator[str]:
    """Sentences of XTREME's files, with tags or without."""
    return tag_columns.read_passages(paths["sentences"])


def read_treebanks(paths: Mapping[str, Path], language: str, *, surface: bool) -> Iterator[Row]:
    """Rows of all treebanks at hand, one after the other in the order of their file names, as XTREME has them.

    A sentence keeps its ``sent_id`` where no other has the same; else it is called by treebank and number. Where
    treebanks are missing, each row says so as a caveat.
    """
    sentences = [
        (f"{_prefix(language, name)}-{number}", sentence)
        for name in sorted(paths, key=partial(_prefix, language))
        for number, sentence in enumerate(
            conllu.read_sentences(paths[name], language, TAGS, surface=surface), start=1
        )
    ]
    taken = Counter(sentence.id for _, sentence in sentences)
    taken.update(numbered for numbered, _ in sentences)
    note = _incomplete(paths, language)
    for numbered, sentence in sentences:
        identity = sentence.id if sentence.id is not None and taken[sentence.id] == 1 else numbered
        yield {"id": identity, "words": sentence.words, "tags": sentence.tags, **note}


def _incomplete(paths: Mapping[str, Path], language: str) -> Mapping[str, str]:
    """What is missing of the treebanks that XTREME joins, as the entry of a row; nothing for the sample."""
    split = next(
        (part for path in paths.values() for part in ("dev", "train") if f"-{part}." in path.name), "test"
    )
    missing = [name for name in _treebanks(language, split) if name not in paths]
    told = f"only a part of XTREME's {language} {split} set: without the treebanks {', '.join(missing)}"
    return {"caveat": told} if missing and not any(name.endswith(_SAMPLE) for name in paths) else {}


def _sources(*, surface: bool) -> tuple[FilesSource | HubSource, ...]:
    treebanks = FilesSource(
        name="ud" if surface else "ud-syntactic",
        files=treebank_files,
        read=partial(read_treebanks, surface=surface),
        homepage="https://universaldependencies.org (UD 2.5: hdl.handle.net/11234/1-3105)",
        optional=frozenset(name for code in TREEBANKS for name in treebank_files(code, "test")),
    )
    hub = HubSource(
        name="hub",
        repository=udpos_hub.REPOSITORY,
        revision=udpos_hub.REVISION,
        config=lambda language: f"udpos.{udpos_hub.NAMES[language]}",
        split={"test": "test", "dev": "validation", "train": "train"}.get,
        read=udpos_hub.read_surface if surface else udpos_hub.read_words,
        patterns=("README.md", "udpos.*/*"),
    )
    return (treebanks, hub)


_XTREME_FILES = FilesSource(
    name="xtreme",
    files=xtreme_files,
    read=read_xtreme,
    passages=read_passages,
    homepage="https://github.com/google-research/xtreme (scripts/download_data.sh)",
)

UDPOS = TaskSpec(
    name="udpos",
    version=1,
    title="UDPOS parts of speech, 33 languages",
    format=Tagging(labels=TAGS),
    languages=tuple(TREEBANKS),
    splits=("test", "dev", "train"),
    split="test",
    sources=(_XTREME_FILES, *_sources(surface=True)),
    sample="harness_tasks:samples",
    example=tagged_sentence,
    metrics=tuple(
        MetricUse(metric=name)
        for name in ("tag_f1", "tag_precision", "tag_recall", "token_accuracy", "token_macro_f1")
    ),
    protocols=schedules.SENTENCES,
    training={
        "xtreme": Training(task="udpos", schedule=schedules.XTREME_UDPOS, select=("udpos", "dev")),
        "phang2020": Training(task="udpos", schedule=schedules.PHANG_TAGGING, select=("udpos", "dev")),
    },
    submission=layout.TAGS,
    sizes={"test": _TEST_SIZES, "dev": {"en": 3974}, "train": {"en": 21_253}},
    licence="per treebank: CC BY-SA, CC BY-NC-SA and others (licence of Universal Dependencies 2.5)",
    citation="""@inproceedings{nivre-etal-2020-universal,
  title = {{U}niversal {D}ependencies v2: An Evergrowing Multilingual Treebank Collection},
  author = {Nivre, Joakim and de Marneffe, Marie-Catherine and Ginter, Filip and Haji{\\v{c}}, Jan and Manning,
    Christopher D. and Pyysalo, Sampo and Schuster, Sebastian and Tyers, Francis and Zeman, Daniel},
  booktitle = {Proceedings of the Twelfth Language Resources and Evaluation Conference},
  year = {2020}
}""",
    homepage="https://universaldependencies.org",
    notes=(
        "Surface tokens: a multiword token is one token with the tag of its highest word, as XTREME's converter has it.",
        "Spaces and U+200C are taken out of words, as in XTREME's files.",
        "XTREME's files come from UD 2.5; later releases of a treebank differ in words and tags.",
        "XTREME's score is an F1 over runs of equal tags (tag_f1), not accuracy, whatever the paper's table says.",
        "google/xtreme on the hub mixes in other languages: Chinese is repaired, Russian and French are refused.",
        "Of google/xtreme only languages without multiword tokens, and English, can be read as surface tokens.",
    ),
)

UDPOS_SYNTACTIC = replace(
    UDPOS,
    name="udpos-syntactic",
    title="UDPOS over syntactic words (not XTREME's), 33 languages",
    sources=_sources(surface=False),
    training={
        protocol: replace(training, task="udpos-syntactic", select=("udpos-syntactic", "dev"))
        for protocol, training in UDPOS.training.items()
    },
    submission=None,
    notes=(
        "Syntactic words: a multiword token is split, as in google/xtreme; XTREME itself scores surface tokens.",
        "Spaces and U+200C are taken out of words, as in XTREME's files.",
        "google/xtreme on the hub mixes in other languages: Greek, German, Chinese are repaired, French, Russian refused.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """UDPOS, over surface tokens and over syntactic words."""
    return (UDPOS, UDPOS_SYNTACTIC)
