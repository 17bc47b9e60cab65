"""PAN-X and UDPOS: layouts, the hub's sets with what is repaired and refused, and real files pinned by their content.

``tests/golden/tagging.json`` has, for each set at hand, the number of examples and the SHA-256 of the canonical first,
tenth and last one. After a change that is meant to alter them, write it anew with HARNESS_REAL_DATA set::

    HARNESS_WRITE_GOLDEN=1 python -m pytest -q tests/test_tagging_tasks.py -k golden
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness_xtreme import udpos_hub
from harness_xtreme.panx import PANX
from harness_xtreme.udpos import TREEBANKS, UDPOS, UDPOS_SYNTACTIC

from harness import digests, hub, sources
from harness.errors import DataError
from harness.sources import DataLocation, RowSet
from harness.spec import FilesSource, TaskSpec

GOLDEN = Path(__file__).parent / "golden" / "tagging.json"
SENTENCE = [("Anna", "B-PER"), ("Kim", "I-PER"), ("''", "O"), ("in", "O"), ("Paris", "B-LOC")]


def write(path: Path, text: str) -> None:
    """A UTF-8 file with exactly this content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def columns(*sentences_: Sequence[tuple[str, str]], prefix: str = "") -> str:
    """Sentences as XTREME and Rahimi et al. write them."""
    return "".join(
        "".join(f"{prefix}{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in sentences_
    )


def read(task: TaskSpec, folder: Path, language: str = "de", split: str = "test") -> RowSet:
    """What a task finds in a data folder."""
    return sources.read(task, language, split, DataLocation.parse(str(folder)))


def pairs(rows: RowSet) -> list[list[tuple[str, str]]]:
    """Words with tags of each example."""
    examples: list[Any] = list(rows.examples)
    return [list(zip(example.words, example.tags, strict=True)) for example in examples]


# Files


def test_both_layouts_of_panx_are_the_same_data(tmp_path: Path) -> None:
    write(tmp_path / "x" / "panx" / "dev-de.tsv", columns(SENTENCE, SENTENCE[:1]))
    write(tmp_path / "o" / "panx_dataset" / "de" / "dev", columns(SENTENCE, SENTENCE[:1], prefix="de:"))
    xtreme, original = (read(PANX, tmp_path / name, split="dev") for name in "xo")
    assert (xtreme.source, original.source) == ("xtreme", "panx")
    assert xtreme.examples == original.examples
    assert pairs(xtreme) == [SENTENCE, SENTENCE[:1]]
    assert [example.id for example in xtreme.examples] == ["de-1", "de-2"]


def test_the_original_test_set_is_taken_before_xtremes_without_tags(tmp_path: Path) -> None:
    write(tmp_path / "panx" / "test-de.tsv", "Anna\nKim\n\n")
    write(tmp_path / "panx_dataset" / "de" / "test", columns(SENTENCE, prefix="de:"))
    assert read(PANX, tmp_path).source == "panx"


@pytest.mark.parametrize(
    "written",
    [
        columns(SENTENCE, SENTENCE).replace("\n", "\r\n"),
        columns(SENTENCE, SENTENCE).rstrip("\n"),
        columns(SENTENCE, SENTENCE).replace("\n\n", "\n\n \t\n\n"),
        "\ufeff\n\n" + columns(SENTENCE, SENTENCE),
    ],
    ids=["Windows", "no blank line at the end", "several blank lines", "byte order mark and blank lines"],
)
def test_line_ends_and_blank_lines_do_not_matter(tmp_path: Path, written: str) -> None:
    write(tmp_path / "panx" / "dev-de.tsv", written)
    assert pairs(read(PANX, tmp_path, split="dev")) == [SENTENCE, SENTENCE]


def test_odd_words_stay_as_they_are(tmp_path: Path) -> None:
    odd = [(word, "O") for word in ("''", "a b", "1\u00a0000", "\u00a0", "\u2028", ":", "de:", "#", "\u200f")]
    write(tmp_path / "panx" / "dev-de.tsv", columns(odd))
    assert pairs(read(PANX, tmp_path, split="dev")) == [odd]
    write(tmp_path / "original" / "panx_dataset" / "de" / "dev", columns(odd, prefix="de:"))
    assert pairs(read(PANX, tmp_path / "original", split="dev")) == [odd]


def test_training_is_english(tmp_path: Path) -> None:
    for language in ("de", "en"):
        write(tmp_path / "panx" / f"train-{language}.tsv", columns(SENTENCE))
        write(tmp_path / "udpos" / f"train-{language}.tsv", columns([("a", "DET")]))
        write(tmp_path / "panx_dataset" / language / "train", columns(SENTENCE, prefix=f"{language}:"))
    here = DataLocation.parse(str(tmp_path))
    assert sources.available(PANX, "train", here) == sources.available(UDPOS, "train", here) == ("en",)
    for task in (PANX, UDPOS, UDPOS_SYNTACTIC):
        for protocol, training in task.training.items():
            assert (training.task, training.language, training.select) == (
                task.name,
                "en",
                (task.name, "dev"),
            )
            assert protocol in task.protocols


def test_the_tasks_are_what_xtreme_says() -> None:
    assert (len(PANX.languages), len(UDPOS.languages)) == (40, 33)
    assert set(UDPOS.languages) - set(PANX.languages) == set()
    assert PANX.format.head.labels == ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
    assert len(UDPOS.format.head.labels) == 17
    assert PANX.main.metric == UDPOS.main.metric == "tag_f1"
    assert PANX.sizes["test"]["de"] == 10_000
    assert (PANX.sizes["test"]["sw"], PANX.sizes["test"]["yo"]) == (1000, 100)
    assert UDPOS.sizes["test"]["en"] == 5440
    assert UDPOS_SYNTACTIC.submission is None
    assert "xtreme" not in [source.name for source in UDPOS_SYNTACTIC.sources]


def test_the_sample_has_all_splits() -> None:
    here = DataLocation(kind="sample")
    for task in (PANX, UDPOS, UDPOS_SYNTACTIC):
        for split in task.splits:
            assert "en" in sources.available(task, split, here)
            found = sources.read(task, "en", split, here)
            assert found.repairs == {}
            assert len({tag for row in pairs(found) for _, tag in row}) > 3


# The hub


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for what was fetched of google/xtreme; datasets keeps its own files beside it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub, "snapshot", lambda *_, **__: folder)
    return folder


def fill(
    repository: Path, config: str, split: str, column: str, labels: Sequence[str], rows: Sequence[Any]
) -> None:
    """A Parquet file with class labels, and the card that names it beside a set that was not fetched."""
    import datasets

    features: Any = datasets.Features(
        {
            "tokens": datasets.Sequence(datasets.Value("string")),
            column: datasets.Sequence(datasets.ClassLabel(names=list(labels))),
        }
    )
    content = {"tokens": [[w for w, _ in row] for row in rows], column: [[t for _, t in row] for row in rows]}
    (repository / config).mkdir()
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(content, features=features).to_parquet(
        repository / config / f"{split}-00000-of-00001.parquet"
    )
    card = ["---", "configs:"]
    for name in (config, "XNLI"):
        card += [
            f"- config_name: {name}",
            "  data_files:",
            f"  - split: {split}",
            f"    path: {name}/{split}-*",
        ]
    write(repository / "README.md", "\n".join([*card, "---", ""]))


def read_hub(task: TaskSpec, language: str, split: str = "test") -> RowSet:
    """What a task reads from the hub."""
    return sources.read(task, language, split, DataLocation(kind="hub"))


def test_panx_on_the_hub_has_its_labels_by_number(repository: Path) -> None:
    rows = [SENTENCE, [(tag, tag) for tag in PANX.format.head.labels]]
    fill(repository, "PAN-X.th", "validation", "ner_tags", PANX.format.head.labels, rows)
    found = read_hub(PANX, "th", "dev")
    assert pairs(found) == rows
    assert found.source == f"google/xtreme@{udpos_hub.REVISION}"
    assert found.repairs == {}


def test_udpos_on_the_hub_is_read_where_words_are_surface_tokens(repository: Path) -> None:
    rows = [[(tag, tag) for tag in udpos_hub.TAGS], [("bắt chuyện", "VERB")]]
    fill(repository, "udpos.Vietnamese", "test", "pos_tags", udpos_hub.TAGS, rows)
    for task in (UDPOS, UDPOS_SYNTACTIC):
        found = read_hub(task, "vi")
        assert pairs(found) == [rows[0], [("bắtchuyện", "VERB")]]
        assert found.repairs == {}


def test_english_on_the_hub_says_what_differs(repository: Path) -> None:
    fill(repository, "udpos.English", "train", "pos_tags", udpos_hub.TAGS, [[("a", "DET")]] * 3)
    note = "google/xtreme splits the few multiword tokens of English-ParTUT, which XTREME keeps whole"
    assert read_hub(UDPOS, "en", "train").repairs == {note: 3}
    assert read_hub(UDPOS_SYNTACTIC, "en", "train").repairs == {}


# Language, config, split, all sentences, own ones, whether the foreign ones come first; a sentence of each.
MIXED: tuple[tuple[str, str, str, int, int, bool, list[tuple[str, str]], list[tuple[str, str]]], ...] = (
    ("el", "Greek", "test", 2809, 456, True, [("και", "CCONJ"), ("το", "DET")], [("καὶ", "CCONJ")]),
    ("el", "Greek", "validation", 2559, 403, True, [("της", "DET")], [("τῆς", "DET"), ("τε", "PART")]),
    ("el", "Greek", "train", 28152, 1662, True, [("να", "PART")], [("ἵνα", "SCONJ")]),
    ("de", "German", "test", 22458, 22358, False, [("ist", "AUX"), ("da", "ADV")], [("isch", "AUX")]),
    ("zh", "Chinese", "test", 5528, 3455, False, [("人", "NOUN"), ("。", "PUNCT")], [("子", "NOUN")]),
    ("zh", "Chinese", "validation", 3038, 1000, False, [("人", "NOUN"), ("。", "PUNCT")], [("子", "NOUN")]),
)


def mixed(total: int, own: int, first: bool, sentence: Any, other: Any) -> Iterator[Any]:
    """Sentences of two languages, numbered by a word of their own."""
    for number in range(total):
        foreign = number < total - own if first else number >= own
        yield [*(other if foreign else sentence), (str(number), "NUM")]


@pytest.mark.parametrize(("language", "name", "split", "total", "own", "first", "sentence", "other"), MIXED)
def test_sentences_of_other_languages_are_cut_off(
    repository: Path,
    language: str,
    name: str,
    split: str,
    total: int,
    own: int,
    first: bool,
    sentence: Any,
    other: Any,
) -> None:
    rows = list(mixed(total, own, first, sentence, other))
    fill(repository, f"udpos.{name}", split, "pos_tags", udpos_hub.TAGS, rows)
    found = read_hub(UDPOS_SYNTACTIC, language, {"validation": "dev"}.get(split, split))
    assert pairs(found) == (rows[total - own :] if first else rows[:own])
    ((told, count),) = found.repairs.items()
    assert count == own
    foreign = {"el": "Ancient Greek", "de": "Swiss German", "zh": "Classical Chinese"}[language]
    assert f"udpos.{name}: {total - own} of {total} sentences are {foreign} and left out" in told


def test_german_sets_without_swiss_german_are_whole(repository: Path) -> None:
    rows = [[("ist", "AUX"), (str(number), "NUM")] for number in range(19233)]
    fill(repository, "udpos.German", "validation", "pos_tags", udpos_hub.TAGS, rows)
    found = read_hub(UDPOS_SYNTACTIC, "de", "dev")
    assert len(found.examples) == 19233
    assert found.repairs == {}


def told(task: TaskSpec, language: str) -> str:
    """Why a set is refused."""
    with pytest.raises(DataError) as caught:
        read_hub(task, language)
    return str(caught.value)


@pytest.mark.parametrize("change", ["another number", "another order"])
def test_a_set_that_is_not_as_known_is_refused(repository: Path, change: str) -> None:
    size, first = (2808, True) if change == "another number" else (2809, False)
    rows = list(mixed(size, 456, first, [("και", "CCONJ")], [("καὶ", "CCONJ")]))
    fill(repository, "udpos.Greek", "test", "pos_tags", udpos_hub.TAGS, rows)
    message = told(UDPOS_SYNTACTIC, "el")
    expected = "2808 sentences where 2809" if change == "another number" else "not where they should be"
    assert expected in message
    assert "Ancient Greek" in message
    assert "ud/UD_*/*.conllu" in message


@pytest.mark.parametrize("language", ["fr", "ru"])
def test_what_cannot_be_repaired_is_refused(repository: Path, language: str) -> None:
    name = udpos_hub.NAMES[language]
    fill(repository, f"udpos.{name}", "test", "pos_tags", udpos_hub.TAGS, [[("a", "X")]])
    message = told(UDPOS_SYNTACTIC, language)
    assert f"udpos.{name} cannot be repaired" in message
    assert "Old " in message
    assert "ud/UD_*/*.conllu" in message


def test_surface_tokens_are_not_made_up() -> None:
    """Which languages are refused does not change unnoticed."""
    served = []
    for language in udpos_hub.NAMES:
        with contextlib.suppress(DataError):
            udpos_hub.read_surface([], language)
            served.append(language)
    assert " ".join(sorted(served)) == "af bg en et eu hi hu ja ko nl te th tl ur vi zh"
    with pytest.raises(
        DataError, match=r"surface tokens .* cannot be made from its udpos\.Italian; .*udpos-syntactic"
    ):
        udpos_hub.read_surface([], "it")


def test_a_label_that_is_not_one_is_refused(repository: Path) -> None:
    fill(repository, "PAN-X.de", "test", "ner_tags", [str(n) for n in range(9)], [[("a", "0"), ("b", "8")]])
    assert "PAN-X.de, row 1: the label 8 is not one of 0 to 6" in told(PANX, "de")
    fill(repository, "udpos.Urdu", "test", "pos_tags", [str(n) for n in range(20)], [[("a", "17")]])
    assert "udpos.Urdu, row 1: the label 17 is not one of 0 to 16" in told(UDPOS, "ur")


def test_an_empty_word_is_refused(repository: Path) -> None:
    fill(repository, "PAN-X.de", "test", "ner_tags", PANX.format.head.labels, [[("a", "O"), ("", "O")]])
    assert "PAN-X.de, row 1: word 2 is empty" in told(PANX, "de")


@pytest.mark.parametrize("language", sorted(udpos_hub.MIXTURES))
def test_the_marks_of_a_language_are_frequent_in_it(real_data: Path, language: str) -> None:
    """By them the cut is proved; here on the treebank itself, and on other languages, which have none."""
    mark = udpos_hub.MIXTURES[language].mark

    def rate(code: str) -> float:
        rows = pairs(read(UDPOS_SYNTACTIC, real_data, code))
        tokens = [pair for row in rows for pair in row]
        return sum(mark(word, tag) for word, tag in tokens) / len(tokens)

    assert rate(language) >= {"el": 0.1, "de": 0.03, "zh": 0.1}[language]
    if language != "zh":  # its mark is punctuation
        assert rate("nl") < 0.005


# The channel for repairs


def test_repairs_are_counted_by_text(tmp_path: Path) -> None:
    def rows(paths: Mapping[str, Path], language: str) -> Iterator[dict[str, Any]]:
        for number, text in enumerate(["mended", None, "mended", "", "cut"]):
            yield {"id": str(number), "words": ["a"], "tags": ["O"]} | (
                {} if text is None else {"repair": text}
            )

    (tmp_path / "a").write_text("x", encoding="utf-8")
    source = FilesSource(name="a", files=lambda language, split: {"a": "a"}, read=rows, homepage="")
    task = replace(PANX, sources=(source,))
    found = sources.read(task, "de", "test", DataLocation.parse(str(tmp_path)), 1)
    assert found.repairs == {"mended": 2, "cut": 1}
    assert len(found.examples) == 1


def test_a_source_of_optional_files_needs_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x", encoding="utf-8")
    here = DataLocation.parse(str(tmp_path))
    assert sources.available(UDPOS_SYNTACTIC, "test", here) == ()
    with pytest.raises(DataError, match=r"lacks every one of ud/UD_Basque-BDT/eu_bdt-ud-test\.conllu"):
        sources.read(UDPOS_SYNTACTIC, "eu", "test", here)


# Real data


def summary(rows: RowSet) -> dict[str, Any]:
    """Number of examples and digests of three of them."""
    examples = rows.examples
    chosen = {"first": examples[:1], "tenth": examples[9:10], "last": examples[-1:]}
    return {
        "count": len(examples),
        **{name: digests.of_lines([one[0].canonical()]) for name, one in chosen.items() if one},
    }


def golden_tasks(folder: Path) -> Iterator[tuple[str, TaskSpec, Path]]:
    """What is pinned: a name, a task with the one source that is read, and the data folder."""
    by_name = {(task.name, source.name): source for task in TASKS for source in task.sources}
    for task, source, place in (
        (PANX, "xtreme", folder),
        (PANX, "panx", folder / "format_samples"),
        (UDPOS, "xtreme", folder),
        (UDPOS, "ud", folder),
        (UDPOS_SYNTACTIC, "ud-syntactic", folder),
    ):
        yield f"{task.name} {source}", replace(task, sources=(by_name[task.name, source],)), place


TASKS = (PANX, UDPOS, UDPOS_SYNTACTIC)


@pytest.mark.full
def test_golden_real_files(real_data: Path) -> None:
    found: dict[str, dict[str, Any]] = {}
    for name, task, folder in golden_tasks(real_data):
        here = DataLocation.parse(str(folder))
        for split in task.splits:
            if name == "panx xtreme" and split == "test":
                continue  # its files have no tags
            rows = found.setdefault(f"{name} {split}", {})
            for language in sources.available(task, split, here):
                rows[language] = summary(sources.read(task, language, split, here))
    if os.environ.get("HARNESS_WRITE_GOLDEN"):
        lines = (
            f" {json.dumps(name)}: {{\n"
            + ",\n".join(f"  {json.dumps(code)}: {json.dumps(row)}" for code, row in sorted(rows.items()))
            + "\n }"
            for name, rows in found.items()
        )
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert found == expected


def test_every_real_test_file_without_tags_is_refused_as_such(real_data: Path) -> None:
    """XTREME's PAN-X test sets; none of 40 is read as something else."""
    for language in PANX.languages:
        with pytest.raises(DataError, match=r"no line of the file has a tag.*--split panx=dev"):
            read(replace(PANX, sources=PANX.sources[1:2]), real_data, language)


def test_every_language_has_treebanks_at_hand(real_data: Path) -> None:
    here = DataLocation.parse(str(real_data))
    assert sources.available(UDPOS_SYNTACTIC, "test", here) == tuple(TREEBANKS)
    for language in TREEBANKS:
        words, surface = (
            read(task, real_data, language)
            for task in (UDPOS_SYNTACTIC, replace(UDPOS, sources=UDPOS.sources[1:2]))
        )
        assert len(words.examples) == len(surface.examples)
        lengths = [sum(map(len, pairs(rows))) for rows in (words, surface)]
        assert lengths[0] >= lengths[1]
        if language in udpos_hub.PLAIN:
            assert pairs(words) == pairs(surface), "said to have no multiword tokens"


def test_packed_and_plain_files_are_the_same_data(tmp_path: Path) -> None:
    text = columns(SENTENCE)
    write(tmp_path / "a" / "panx" / "dev-de.tsv", text)
    (tmp_path / "b" / "panx").mkdir(parents=True)
    (tmp_path / "b" / "panx" / "dev-de.tsv.gz").write_bytes(gzip.compress(text.encode("utf-8")))
    assert read(PANX, tmp_path / "a", split="dev") == read(PANX, tmp_path / "b", split="dev")
