"""Text for masked language modelling: every layout, what is held out, damaged files, the sample, and the real folder."""

from __future__ import annotations

import contextlib
import gzip
import importlib.resources
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness_intermediate import mlm, parallel_text, text_files, wikipedia
from harness_tasks.derive_texts import derive_texts

from harness import DataError, TaskSpec, files, languages, sources
from harness.engine.tokenizer import SubwordTokenizer
from harness.formats.drawn import Text
from harness.formats.masking import masked
from harness.formats.rows import IGNORED
from harness.formats.texts import Texts
from harness.sources import DataLocation

MLM, TLM = mlm.MLM, mlm.TLM
PACKAGE = Path(str(importlib.resources.files("harness_tasks")))
SAMPLE = DataLocation(kind="sample")
FLORES = "parallel/flores200/dev"
MULTI30K = "parallel/multi30k/data/task1/raw"
BIBLES = "parallel/bible_scrollmapper"


def _write(root: Path, given_files: Mapping[str, str | bytes]) -> DataLocation:
    for name, content in given_files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return DataLocation(kind="files", folder=root)


def _read(task: TaskSpec, language: str, split: str, location: DataLocation) -> list[Text]:
    examples = sources.read(task, language, split, location).examples
    assert all(isinstance(example, Text) for example in examples)
    return [example for example in examples if isinstance(example, Text)]


def _complaint(task: TaskSpec, language: str, location: DataLocation, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        _read(task, language, split, location)
    told = str(caught.value)
    assert "\n" not in told
    assert told.startswith(f"{task.name}/{language}/{split}: ")
    return told


def test_own_files_by_split(tmp_path: Path) -> None:
    """A mark at the start, CRLF, blank lines and white space at the ends do not count; line numbers do."""
    location = _write(
        tmp_path,
        {
            "text/sw.train.txt": b"\xef\xbb\xbfMoja \r\n\r\n   \n\tMbili\n",
            "text/sw.dev.txt.gz": "Tatu",
            "text/en-sw.train.tsv": "One\tMoja\n\nTwo \t Mbili\n",
        },
    )
    assert _read(MLM, "sw", "train", location) == [
        Text(id="1", text="Moja", language="sw"),
        Text(id="4", text="Mbili", language="sw"),
    ]
    assert _read(MLM, "sw", "dev", location) == [Text(id="1", text="Tatu", language="sw")]
    assert _read(TLM, "sw", "train", location) == [
        Text(id="1", text="One", other="Moja", language="sw"),
        Text(id="3", text="Two", other="Mbili", language="sw"),
    ]


def test_of_a_whole_file_the_same_part_is_always_held_out(tmp_path: Path) -> None:
    """By the text, or the English side of a pair, so a line keeps its side when others are added before it."""
    lines = [f"line {number}" for number in range(500)]
    location = _write(
        tmp_path,
        {
            "text/en.txt": "\n".join(lines),
            "text/de.txt.gz": "\n".join(["neu", *lines]),
            "text/en-de.tsv": "".join(f"{line}\tZeile {line}\n" for line in lines),
        },
    )
    held_out = {line for line in lines if text_files.held_out(line)}
    assert 2 < len(held_out) < 25
    for task, language in ((MLM, "en"), (MLM, "de"), (TLM, "de")):
        train, dev = (_read(task, language, split, location) for split in ("train", "dev"))
        assert {example.text for example in dev} - {"neu"} == held_out
        assert {example.text for example in train} - {"neu"} == set(lines) - held_out
        assert not {example.id for example in train} & {example.id for example in dev}
    assert sources.available(MLM, "dev", location) == ("de", "en")
    assert sources.available(TLM, "train", location) == ("de",)


def test_a_fiftieth_is_held_out() -> None:
    """Of 100,000 keys 2,000 are expected; five standard deviations are 221. The keys of the first ones are frozen."""
    chosen = [number for number in range(100_000) if text_files.held_out(f"flores200-{number}")]
    assert abs(len(chosen) - 2000) < 221
    assert chosen[:5] == [44, 208, 219, 226, 282]


def _quran(*verses: tuple[int, int, str]) -> str:
    chapters: dict[str, list[object]] = {}
    for chapter, verse, text in verses:
        chapters.setdefault(str(chapter), []).append({"chapter": chapter, "verse": verse, "text": text})
    return json.dumps(chapters)


XML = """<?xml version="1.0" ?><cesDoc><text><body id="Bible"><div id="b.MAT" type="book"><div id="b.MAT.1" type="chapter">
<seg id="b.MAT.1.1" type="verse">
  Yesu &amp; Kristo
  alikuwa
</seg><seg id="b.MAT.1.2" type="verse"></seg><seg id="b.MAT.1.3" type="verse">Yuda</seg></div></div></body></text></cesDoc>"""


@pytest.fixture
def parallel(tmp_path: Path) -> DataLocation:
    """A small folder ``parallel`` in which every layout occurs."""
    with zipfile.ZipFile(tmp_path / "udhr2.zip", "w") as archive:
        archive.writestr("udhr2/swh.txt", "Tangazo\n\n   Kifungu cha 1\n")
        archive.writestr("udhr2/eng.txt", "Declaration\n")
    return _write(
        tmp_path / "data",
        {
            f"{FLORES}/eng_Latn.dev.gz": "One.\nTwo.\n\nFour.\n",
            f"{FLORES}/swh_Latn.dev": "Moja.\nMbili.\nTatu.\nNne.\n",
            f"{FLORES}/arb_Arab.dev": "واحد\nاثنان\n\n\n",
            "parallel/quran-json/data/quran.json": _quran((1, 1, "باسم"), (2, 7, " "), (2, 8, "قلب")),
            "parallel/quran-json/data/editions/en.json.gz": _quran((1, 1, "In the name"), (2, 7, "heart")),
            f"{BIBLES}/BSB.txt": "### Genesis\n\n[1:1] In the beginning\n### Matthew\n[1:1] The record\n[1:1] of Jesus\n[1:3] Judah \n",
            "parallel/bible-corpus/bibles/Swahili-NT.xml.gz": XML,
            "parallel/udhr2.zip": (tmp_path / "udhr2.zip").read_bytes(),
        },
    )


def _all(task: TaskSpec, language: str, location: DataLocation) -> dict[str, tuple[str, str]]:
    """Id to text and translation, of both splits where there are any."""
    found: list[Text] = []
    for split in ("train", "dev"):
        # So few texts may all be on one side.
        with contextlib.suppress(DataError):
            found += _read(task, language, split, location)
    assert len({example.id for example in found}) == len(found)
    assert {example.language for example in found} == {language}
    return {example.id: (example.text, example.other) for example in found}


def test_the_texts_of_one_language_in_all_collections(parallel: DataLocation) -> None:
    assert _all(MLM, "sw", parallel) == {
        "flores200-1": ("Moja.", ""),
        "flores200-2": ("Mbili.", ""),
        "flores200-3": ("Tatu.", ""),
        "flores200-4": ("Nne.", ""),
        "bible-MAT.1.1": ("Yesu & Kristo alikuwa", ""),
        "bible-MAT.1.3": ("Yuda", ""),
        "udhr-1": ("Tangazo", ""),
        "udhr-3": ("Kifungu cha 1", ""),
    }
    assert [text for text, _ in _all(MLM, "en", parallel).values()] == [
        "One.", "Two.", "Four.", "In the name", "heart", "In the beginning", "The record of Jesus", "Judah",
        "Declaration",
    ]  # fmt: skip


def test_pairs_have_the_same_line_or_verse(parallel: DataLocation) -> None:
    """A blank line, an empty verse and a verse of one side only give no pair; the declaration has no numbers to go by."""
    assert _all(TLM, "sw", parallel) == {
        "flores200-1": ("One.", "Moja."),
        "flores200-2": ("Two.", "Mbili."),
        "flores200-4": ("Four.", "Nne."),
        "bible-MAT.1.1": ("The record of Jesus", "Yesu & Kristo alikuwa"),
        "bible-MAT.1.3": ("Judah", "Yuda"),
    }
    assert _all(TLM, "ar", parallel) == {
        "flores200-1": ("One.", "واحد"),
        "flores200-2": ("Two.", "اثنان"),
        "quran-1:1": ("In the name", "باسم"),
    }


def test_where_both_folders_have_a_language_the_own_text_is_read(parallel: DataLocation) -> None:
    assert parallel.folder is not None
    _write(parallel.folder, {"text/sw.train.txt": "Habari"})
    assert [example.text for example in _read(MLM, "sw", "train", parallel)] == ["Habari"]
    assert sources.read(MLM, "sw", "train", parallel).source == "text"
    assert sources.read(MLM, "en", "train", parallel).source == "parallel"


def test_the_declaration_is_learned_and_not_held_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("udhr2/khk.txt", "".join(f"{number}\n" for number in range(300)))
    location = _write(tmp_path / "data", {"parallel/udhr2.zip": (tmp_path / "a.zip").read_bytes()})
    assert len(_read(MLM, "mn", "train", location)) == 300
    assert "add --split mlm=train" in _complaint(MLM, "mn", location, "dev")
    assert sources.available(MLM, "dev", location) == ()


BAD: tuple[tuple[TaskSpec, str, str, str | bytes, str], ...] = (
    (MLM, "sw", "text/sw.txt", b"ok\nbad \xff byte\n", r"text/sw\.txt, line 2: not UTF-8 \(byte 0xff, invalid start"),
    (MLM, "sw", "text/sw.txt", b"ok\n\nnul \0\n", r"text/sw\.txt, line 3: a NUL character"),
    (MLM, "sw", "text/sw.txt", b"", r"text, held out holds no example"),
    (MLM, "sw", "text/sw.txt", b"\n \r\n\n", r"text, held out holds no example"),
    (TLM, "sw", "text/en-sw.tsv", "a\tb\n\nonly\n", r"en-sw\.tsv, line 3: english<TAB>translation is expected, found 1"),
    (TLM, "sw", "text/en-sw.tsv", "a\tb\tc\n", r"line 1: english<TAB>translation is expected, found 3 fields"),
    (TLM, "sw", "text/en-sw.train.tsv", "a\t\tb\n", r"found 3 fields of which 1 are empty: .*; mend or remove the line"),
    (MLM, "tr", "parallel/quran-json/data/editions/tr.json", "[1]", r"an object with the key '' is expected, found list"),
    (MLM, "tr", "parallel/quran-json/data/editions/tr.json", "{", r"tr\.json: not JSON"),
    (MLM, "tr", "parallel/quran-json/data/editions/tr.json", '{"1": {}}', r"'1' must be a list, found dict"),
    (
        MLM, "tr", "parallel/quran-json/data/editions/tr.json", '{"1": [{"chapter": 1, "verse": 1}]}',
        r"chapter 1, entry 1: the key 'text' is missing; there are chapter, verse",
    ),
    (
        MLM, "tr", "parallel/quran-json/data/editions/tr.json", '{"1": [{"chapter": 1, "verse": "1", "text": "a"}]}',
        r"'verse' must be a whole number, found str",
    ),
    (MLM, "de", f"{BIBLES}/GerTafel.txt", "### Genesis\n[1:1] a\nStray\n", r"line 3: neither '### Book' nor, below one,"),
    (MLM, "de", f"{BIBLES}/GerTafel.txt", "[1:1] a\n", r"line 1: neither '### Book' nor, below one, '\[chapter:verse\]"),
    (MLM, "de", f"{BIBLES}/GerTafel.txt", "### Judith\n", r"no book of the Bible is called 'Judith'; there are Genesis,"),
    (MLM, "eu", "parallel/bible-corpus/bibles/Basque-NT.xml", "<a><b></a>", r"Basque-NT\.xml: not XML \(mismatched tag"),
    (
        MLM, "eu", "parallel/bible-corpus/bibles/Basque-NT.xml", '<a><seg id="MAT.1" type="verse">x</seg></a>',
        r"a verse has the id 'MAT\.1', not one like 'b\.MAT\.5\.3'",
    ),
    (MLM, "mn", "parallel/udhr2.zip", b"PK nothing", r"udhr2\.zip: cannot be read \(File is not a zip file\)"),
)  # fmt: skip


@pytest.mark.parametrize(("task", "language", "name", "content", "told"), BAD)
def test_damaged_files_are_told_by_line(
    tmp_path: Path, task: TaskSpec, language: str, name: str, content: str | bytes, told: str
) -> None:
    assert re.search(told, _complaint(task, language, _write(tmp_path, {name: content})))


@pytest.mark.parametrize(
    ("language", "name"),
    [("sw", "text/sw.txt.gz"), ("eu", "parallel/bible-corpus/bibles/Basque-NT.xml.gz")],
)
def test_packed_files_that_end_early_or_are_none(tmp_path: Path, language: str, name: str) -> None:
    location = _write(tmp_path, {name: "x" * 5000})
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-12])
    assert f"{path}: cannot be read (" in _complaint(MLM, language, location)
    path.write_bytes(b"plain text")
    assert "cannot be read (Not a gzipped file" in _complaint(MLM, language, location)


def test_an_archive_without_the_language(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("udhr2/khk.txt", b"ok\n\xff\n")
    location = _write(tmp_path / "data", {"parallel/udhr2.zip": (tmp_path / "a.zip").read_bytes()})
    assert "udhr2.zip: the archive has no file udhr2/ibo.txt" in _complaint(MLM, "ig", location)
    assert "udhr2.zip, udhr2/khk.txt, line 2: not UTF-8 (byte 0xff" in _complaint(MLM, "mn", location)


def test_parallel_files_of_different_length(tmp_path: Path) -> None:
    location = _write(tmp_path, {f"{MULTI30K}/train.en": "a\nb\n", f"{MULTI30K}/train.cs.gz": "a\n"})
    told = _complaint(TLM, "cs", location)
    assert "train.en has 2 lines" in told
    assert "train.cs.gz has 1; line i of both must be a pair" in told


def test_nothing_there_is_told_with_what_is_looked_for(tmp_path: Path) -> None:
    told = _complaint(MLM, "sw", _write(tmp_path, {"other.txt": "x"}))
    assert "text layout lacks text/sw.train.txt" in told
    assert "text, held out layout lacks text/sw.txt" in told
    told = _complaint(TLM, "sw", _write(tmp_path, {"other.txt": "x"}))
    assert "pairs layout lacks text/en-sw.train.tsv" in told
    assert "parallel/flores200/dev/swh_Latn.dev" in told


def test_what_the_tasks_say_of_themselves() -> None:
    for task in (MLM, TLM):
        assert (task.metrics, task.format.views, task.format.head.kind) == ((), (), "vocabulary")
        assert all(languages.is_canonical(code) for code in task.languages)
        for training in task.training.values():
            assert (training.task, training.split, training.select) == (task.name, "train", None)
            assert training.schedule.patience is None
    assert set(MLM.languages) == {*TLM.languages, "en"}
    assert {spec.name for spec in mlm.harness_tasks()} == {"mlm", "tlm"}
    for collection in parallel_text.COLLECTIONS:
        assert set(collection.paths) <= set(MLM.languages)


def test_the_sample_is_derived_and_the_same_lines_are_held_out(tmp_path: Path) -> None:
    written = derive_texts(PACKAGE / "corpus", tmp_path)
    assert len(written) == 22
    for path in written:
        assert path.read_bytes() == (PACKAGE / "samples" / path.relative_to(tmp_path)).read_bytes()
    shipped = {path for path in (PACKAGE / "samples" / "text").iterdir() if path.suffix != ".py"}
    assert {path.name for path in shipped if path.is_file()} == {path.name for path in written}


@pytest.mark.parametrize(
    ("task", "codes", "split", "count"),
    [(MLM, "ar de en es sw zh", "train", 43), (MLM, "ar de en es sw zh", "dev", 5),
     (TLM, "ar de es sw zh", "train", 18), (TLM, "ar de es sw zh", "dev", 9)],
)  # fmt: skip
def test_the_sample_in_every_language(task: TaskSpec, codes: str, split: str, count: int) -> None:
    assert sources.available(task, split, SAMPLE) == tuple(codes.split())
    sides = [_read(task, code, split, SAMPLE) for code in codes.split()]
    assert {len(examples) for examples in sides} == {count}
    if task is TLM:
        assert len({tuple(example.text for example in examples) for examples in sides}) == 1
        tatoeba = files.read_lines(PACKAGE / "samples/tatoeba/v1/tatoeba.deu-eng.eng")
        assert not {example.text for example in sides[0]} & set(tatoeba)


def test_the_sample_for_the_sample_model(sample_model: Path) -> None:
    """Its own tokenizer has a mask, and of each language rows come whose every token that may be guessed is a sub-word."""
    from transformers import AutoTokenizer

    plain: Any = AutoTokenizer.from_pretrained(str(sample_model))
    tokenizer = SubwordTokenizer(plain, segments=False)
    assert (tokenizer.mask, tokenizer.size) == (plain.mask_token_id, len(plain))
    for task in (MLM, TLM):
        examples = [example for code in ("ar", "sw", "zh") for example in _read(task, code, "train", SAMPLE)]
        rows = Texts().encode(examples, tokenizer, 64)
        assert rows.health["lost"] == 0
        assert (rows.languages, len(set(rows.language.tolist()))) == (("ar", "sw", "zh"), 3)
        generator = np.random.default_rng(0)
        inputs, targets = masked(
            rows.ids, rows.maskable, rows.starts,
            mask_id=plain.mask_token_id, vocabulary_size=tokenizer.size, generator=generator,
        )  # fmt: skip
        guessed = targets != IGNORED
        assert not set(targets[guessed].tolist()) & set(plain.all_special_ids)
        assert (np.add.reduceat(guessed, rows.starts[:-1]) > 0).all()
        assert inputs.max() < tokenizer.size


# Language, texts of both splits, texts of dev, and what both splits' examples are, counted again below.
REAL_TEXT = (
    ("ar", 7325, 165, "87c0500081d4"),
    ("fr", 46742, 967, "2e7575c04a55"),
    ("sw", 8943, 166, "568012f983fa"),
)
REAL_PAIRS = (("ar", 7233, "b20f208b7280"), ("fr", 46635, "281a32f6634a"), ("sw", 8834, "057d68d8d589"))


def _unpacked(path: Path) -> str:
    found = files.find(path)
    assert found is not None
    return files.read_bytes(found).decode("utf-8-sig")


def _recount(root: Path, language: str) -> dict[str, set[str]]:
    """Keys of all texts of a language, read in another way."""
    keys: dict[str, set[str]] = {}
    flores = {"ar": "arb_Arab", "fr": "fra_Latn", "sw": "swh_Latn", "en": "eng_Latn"}[language]
    lines = {
        "flores200": f"flores200/dev/{flores}.dev",
        "multi30k": f"multi30k/data/task1/raw/train.{language}",
    }
    for name, path in lines.items():
        if files.find(root / path):
            texts = _unpacked(root / path).split("\n")
            keys[name] = {str(number) for number, line in enumerate(texts, start=1) if line.strip()}
    verses = {"ar": "quran.json"}.get(language, f"editions/{language}.json")
    if files.find(root / "quran-json/data" / verses):
        chapters = json.loads(_unpacked(root / "quran-json/data" / verses))
        keys["quran"] = {
            f"{v['chapter']}:{v['verse']}" for part in chapters.values() for v in part if v["text"].strip()
        }
    edition = {"fr": "FreSynodale1921", "en": "BSB"}.get(language)
    if edition:
        keys["bible"] = set()
        for book, part in pairwise(
            re.split(r"^### (.*)$", _unpacked(root / f"bible_scrollmapper/{edition}.txt"), flags=re.MULTILINE)
        ):
            if book.strip() in text_files.BOOKS:
                keys["bible"] |= {
                    f"{text_files.BOOKS[book.strip()]}.{found[1]}.{found[2]}"
                    for found in re.finditer(r"^\[(\d+):(\d+)\][ \t]*(\S.*)$", part, flags=re.MULTILINE)
                }
    if language == "sw":
        xml = _unpacked(root / "bible-corpus/bibles/Swahili-NT.xml")
        keys["bible"] = set(re.findall(r'<seg id="b\.(\S+?)" type="verse">\s*[^<\s]', xml))
    return keys


@pytest.mark.parametrize(("language", "count", "dev", "digest"), REAL_TEXT)
def test_real_text(real_data: Path, language: str, count: int, dev: int, digest: str) -> None:
    location = DataLocation(kind="files", folder=real_data)
    found = {split: sources.read(MLM, language, split, location) for split in ("train", "dev")}
    assert {split: len(rows.examples) for split, rows in found.items()} == {"train": count - dev, "dev": dev}
    assert found["train"].fingerprint.startswith(digest)
    keys = _recount(real_data / "parallel", language)
    ids = {split: {example.id for example in rows.examples} for split, rows in found.items()}
    aligned = {f"{name}-{key}" for name, part in keys.items() for key in part}
    assert ids["dev"] == {key for key in aligned if text_files.held_out(key)}
    declaration = {key for key in ids["train"] if key.startswith("udhr-")}
    assert ids["train"] - declaration == aligned - ids["dev"]
    with zipfile.ZipFile(real_data / "parallel/udhr2.zip") as archive:
        member = parallel_text.UDHR_MEMBERS[language]
        lines = archive.read(member).decode("utf-8-sig").split("\n")
    assert len(declaration) == sum(bool(line.strip()) for line in lines)


@pytest.mark.parametrize(("language", "count", "digest"), REAL_PAIRS)
def test_real_pairs(real_data: Path, language: str, count: int, digest: str) -> None:
    location = DataLocation(kind="files", folder=real_data)
    found = {split: sources.read(TLM, language, split, location) for split in ("train", "dev")}
    assert found["train"].fingerprint.startswith(digest)
    english, other = (_recount(real_data / "parallel", code) for code in ("en", language))
    expected = {f"{name}-{key}" for name in other for key in other[name] & english[name]}
    ids = {split: {example.id for example in rows.examples} for split, rows in found.items()}
    assert ids["dev"] == {key for key in expected if text_files.held_out(key)}
    assert ids["train"] == expected - ids["dev"]
    assert len(expected) == count


def test_every_real_file_is_read(real_data: Path) -> None:
    """Each collection in each language has its file there, and each file has text."""
    for collection in parallel_text.COLLECTIONS:
        for language, path in collection.paths.items():
            found = files.find(real_data / "parallel" / path)
            assert found is not None, path
            key, text = next(collection.read(found, language))
            assert key, path
            assert text == text.strip() != "", path


# Wikipedia as the hub has it, in its own layout on this machine


def _article(number: int, text: str) -> dict[str, str]:
    return {"id": str(number), "url": f"u{number}", "title": f"T{number}", "text": text}


def _wikipedia(hub: Path, files: Mapping[str, Sequence[dict[str, str]]]) -> None:
    """A snapshot in the hub's cache with these Parquet files."""
    revision = wikipedia.WIKIPEDIA[0].revision
    folder = hub / "datasets--wikimedia--wikipedia"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(revision)
    root = folder / "snapshots" / revision
    for name, rows in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), root / name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataLocation:
    """Two languages of Wikipedia in the cache, of one of them a second file that is never read."""
    from huggingface_hub import constants

    articles = [_article(number, f"Article {number}.\n\nMore of it.") for number in range(300)]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    _wikipedia(
        tmp_path / "hub",
        {
            "20231101.de/train-00000-of-00002.parquet": articles,
            "20231101.de/train-00001-of-00002.parquet": [_article(999, "Never read.")],
            "20231101.yo/train-00000-of-00001.parquet": [_article(7, " "), _article(8, "Kan.")],
        },
    )
    return DataLocation.parse("hub", offline=True)


def test_articles_of_the_hubs_wikipedia_are_texts_and_split_by_a_digest(hub: DataLocation) -> None:
    train, dev = ({text.id: text for text in _read(MLM, "de", split, hub)} for split in ("train", "dev"))
    assert set(train) | set(dev) == {f"wikipedia-{number}" for number in range(300)}
    assert set(dev) == {f"wikipedia-{n}" for n in range(300) if text_files.held_out(f"wikipedia-de-{n}")}
    assert 0 < len(dev) < 20
    assert train["wikipedia-0"].text == "Article 0.\n\nMore of it."
    assert [text.text for text in _read(MLM, "yo", "train", hub)] == ["Kan."]
    source = sources.read(MLM, "yo", "train", hub).source
    assert source == f"wikimedia/wikipedia@{wikipedia.WIKIPEDIA[0].revision}"


def test_so_many_articles_are_read_and_no_more(hub: DataLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wikipedia, "ARTICLES", 10)
    assert set(_all(MLM, "de", hub)) == {f"wikipedia-{number}" for number in range(10)}


def test_only_the_files_of_one_language_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Sequence[str]] = []

    def snapshot(*names: str, patterns: Sequence[str], **given: object) -> Path:
        asked.append(patterns)
        return tmp_path

    monkeypatch.setattr("harness.hub.snapshot", snapshot)
    told = _complaint(MLM, "sw", DataLocation.parse("hub"))
    assert asked == [("README.md", "20231101.sw/train-00000-of-*.parquet")]
    assert "wikimedia/wikipedia at revision b04c8d1ceb2f is not cached for 'sw' and cannot be fetched" in told
    assert "run the same once where there is a network" in told
    sources.hub_snapshot(wikipedia.WIKIPEDIA[0], offline=True)
    assert asked[1:] == [("README.md",)]


def test_what_the_hub_has_not_is_told(hub: DataLocation) -> None:
    assert not sources.has_split(MLM, "ace", "train", hub)
    assert "no hub source has split 'train' in 'ace' (looked at: wikimedia/wikipedia)" in _complaint(
        MLM, "ace", hub
    )
    assert "is not cached for 'fr'" in _complaint(MLM, "fr", hub)
    assert "no hub source has split 'train' (looked at: none)" in _complaint(TLM, "de", hub)


def test_a_folder_goes_before_the_hub_and_each_gives_what_it_has(hub: DataLocation, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "text").mkdir(parents=True)
    (folder / "text/sw.train.txt").write_text("Habari\n")
    (folder / "text/yo.train.txt").write_text("Temi\n")
    both = DataLocation.parse(f"{folder}+hub", offline=True)
    assert str(both) == f"{folder}+hub"
    assert DataLocation.parse(str(both), offline=True) == both
    assert (both.hub, both.local, both.offline) == (True, True, True)
    texts = {code: [text.text for text in _read(MLM, code, "train", both)] for code in ("sw", "yo")}
    assert texts == {"sw": ["Habari"], "yo": ["Temi"]}
    assert _read(MLM, "de", "train", both) == _read(MLM, "de", "train", hub)
    assert set(sources.available(MLM, "train", both)) == set(wikipedia.CODES)
    assert sources.available(TLM, "train", both) == ()
    told = _complaint(TLM, "sw", both)
    assert "pairs layout lacks text/en-sw.train.tsv" in told
    assert told.endswith("nor has the hub the split in 'sw'")


def test_a_folder_whose_name_ends_so_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a+hub").mkdir()
    (tmp_path / "a+hub" / "x").write_text("x")
    found = DataLocation.parse(str(tmp_path / "a+hub"), offline=True)
    assert (found.kind, found.hub, found.offline) == ("files", False, False)
    with pytest.raises(
        DataError, match=r"data folder .*/b does not exist; give a folder, 'hub', 'sample', or a folder"
    ):
        DataLocation.parse(str(tmp_path / "b+hub"))
