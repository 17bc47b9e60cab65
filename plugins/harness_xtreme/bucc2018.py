"""BUCC 2018: mine translated sentence pairs among distractors. Knows its files and hub columns.

Paper: Zweigenbaum, Sharoff & Rapp 2018, third BUCC shared task. XTREME (arXiv 2003.11080) scores on BUCC's training set
(its "test") with a threshold tuned on BUCC's sample set (its "dev"), for the gold of BUCC's own test set is not public.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from harness import DataError, Encoding, FilesSource, HubSource, MetricUse, Row, TaskSpec, files, hookimpl
from harness.formats.retrieval import Mining, Retrieval, sentence
from harness_xtreme import layout

LANGUAGES = ("de", "fr", "ru", "zh")
_OFFICIAL_SPLIT = {"dev": "sample", "test": "training"}


def bucc_files(language: str, split: str, *, folder: str, names: Mapping[str, str]) -> Mapping[str, str]:
    """``xx-en.SPLIT.{xx,en,gold}`` in a folder."""
    stem = f"{folder.format(pair=f'{language}-en')}/{language}-en.{names[split]}"
    return {"xx": f"{stem}.{language}", "en": f"{stem}.en", "gold": f"{stem}.gold"}


def read_files(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of two ``id<TAB>sentence`` files and a gold file of id pairs."""
    pools = {"xx": _sentences(paths["xx"]), "en": _sentences(paths["en"])}
    gold: dict[str, list[str]] = {}
    for number, pair in files.read_columns(paths["gold"], 2):
        for side, identity in zip(("xx", "en"), pair, strict=True):
            if identity not in pools[side]:
                raise DataError(f"{paths['gold']}, line {number}: id {identity!r} is not in {paths[side]}")
        gold.setdefault(pair[0], []).append(pair[1])
        gold.setdefault(pair[1], []).append(pair[0])
    for side, pool in pools.items():
        for identity, text in pool.items():
            yield {"id": identity, "side": side, "text": text, "gold": gold.get(identity, [])}


def _sentences(path: Path) -> dict[str, str]:
    pool: dict[str, str] = {}
    for number, (identity, text) in files.read_columns(path, 2):
        if identity in pool:
            raise DataError(f"{path}, line {number}: id {identity!r} occurs a second time")
        pool[identity] = text
    return pool


def read_mteb(rows: Iterable[Row], language: str) -> Iterator[Row]:
    """Rows of ``mteb/BUCC``: one row per language pair with two lists of sentences and 1-based index pairs."""
    for row in rows:
        gold: dict[str, list[str]] = {}
        for other, english in row["gold"]:
            gold.setdefault(f"{language}-{other}", []).append(f"en-{english}")
            gold.setdefault(f"en-{english}", []).append(f"{language}-{other}")
        for side, code, column in (("xx", language, "sentence1"), ("en", "en", "sentence2")):
            for number, text in enumerate(row[column], start=1):
                identity = f"{code}-{number}"
                yield {
                    "id": identity,
                    "side": side,
                    "text": text.rstrip("\r\n"),
                    "gold": gold.get(identity, []),
                }


BUCC = TaskSpec(
    name="bucc2018",
    version=1,
    title="BUCC 2018 bitext mining, four languages against English",
    format=Retrieval(searches=(Mining(view="mined"),)),
    languages=LANGUAGES,
    splits=("test", "dev"),
    split="test",
    tuning_split="dev",
    sources=(
        FilesSource(
            name="xtreme",
            files=partial(bucc_files, folder="bucc2018", names={"dev": "dev", "test": "test"}),
            read=read_files,
            homepage="https://github.com/google-research/xtreme (scripts/download_data.sh)",
        ),
        FilesSource(
            name="bucc",
            files=partial(bucc_files, folder="bucc2018", names=_OFFICIAL_SPLIT),
            read=read_files,
            homepage="https://comparable.limsi.fr/bucc2018/bucc2018-task.html",
        ),
        FilesSource(
            name="bucc-archive",
            files=partial(bucc_files, folder="bucc2018/{pair}", names=_OFFICIAL_SPLIT),
            read=read_files,
            homepage="https://comparable.limsi.fr/bucc2018/bucc2018-task.html",
        ),
        HubSource(
            name="mteb",
            repository="mteb/BUCC",
            revision="414572247440f0ccacf7eb0bb70a31533a0e5443",
            config=lambda language: f"{language}-en",
            split=lambda split: "test" if split == "test" else None,
            read=read_mteb,
        ),
    ),
    sample="harness_tasks:samples",
    example=sentence,
    metrics=(
        MetricUse(metric="mining_f1", view="mined"),
        MetricUse(metric="mining_precision", view="mined"),
        MetricUse(metric="mining_recall", view="mined"),
        MetricUse(metric="mining_f1_oracle", view="mined"),
    ),
    submission=layout.BITEXT_PAIRS,
    protocols={"xtreme": Encoding(), "phang2020": Encoding()},
    sizes={
        "dev": {"de": 1038, "fr": 929, "ru": 2374, "zh": 257},
        "test": {"de": 9580, "fr": 9086, "ru": 14435, "zh": 1899},
    },
    licence="research use (Wikipedia and News Commentary text)",
    citation="""@inproceedings{zweigenbaum-etal-2018-overview,
  title = {Overview of the Third {BUCC} Shared Task: Spotting Parallel Sentences in Comparable Corpora},
  author = {Zweigenbaum, Pierre and Sharoff, Serge and Rapp, Reinhard},
  booktitle = {Proceedings of the 11th Workshop on Building and Using Comparable Corpora},
  year = {2018}
}""",
    homepage="https://comparable.limsi.fr/bucc2018/bucc2018-task.html",
    notes=(
        "Sizes are gold pairs; test is BUCC's training set and dev its sample set, as in XTREME.",
        "Ratio margin over 4 neighbours in both directions, best first one to one, threshold tuned on dev.",
        "The hub copy has no dev set: there the threshold is tuned on half of the gold, and the score carries a caveat.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """BUCC 2018."""
    return (BUCC,)
