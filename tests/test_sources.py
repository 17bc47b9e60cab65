"""Where rows come from: layouts of files, their twins and their faults, the hub's layout served from this machine."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest
from harness_xtreme.bucc2018 import BUCC
from harness_xtreme.tatoeba import TATOEBA

from harness import sources
from harness.errors import DataError
from harness.sources import DataLocation, RowSet
from harness.spec import HubSource, TaskSpec

SAMPLES = DataLocation(kind="sample")
# The English side is not in the order of the other side, as in XTREME's files.
PAIRS = [
    ("Der Hund schläft.", "The dog sleeps."),
    ("Brot ist teuer.", "Bread is expensive."),
    ("Morgen regnet es.", "It will rain tomorrow."),
    ("Ich kenne ihn nicht.", "I do not know him."),
]


def write(path: Path, lines: Sequence[str], end: str = "\n", start: bytes = b"") -> Path:
    """A UTF-8 file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(start + "".join(f"{line}{end}" for line in lines).encode("utf-8"))
    return path


def pack(folder: Path) -> None:
    """Put the ``.gz`` twin in place of every file."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def laser(folder: Path, pairs: Sequence[tuple[str, str]] = PAIRS, **how: Any) -> Path:
    """LASER's layout."""
    write(folder / "tatoeba/v1/tatoeba.deu-eng.deu", [other for other, _ in pairs], **how)
    write(folder / "tatoeba/v1/tatoeba.deu-eng.eng", [english for _, english in pairs], **how)
    return folder


def xtreme(folder: Path, labels: Sequence[object] | None = None, *, ordered: bool = True) -> Path:
    """XTREME's layout: the English side sorted, with the line of the other side that each translates."""
    english = sorted(text for _, text in PAIRS) if ordered else [text for _, text in PAIRS]
    lines = {text: number for number, (_, text) in enumerate(PAIRS)}
    write(folder / "tatoeba/de-en.de", [other for other, _ in PAIRS])
    write(folder / "tatoeba/de-en.en", english)
    write(folder / "tatoeba/test-de.tsv", [str(x) for x in labels or [lines[text] for text in english]])
    return folder


@dataclass(frozen=True)
class Bitext:
    """Two pools of sentences and which translate each other."""

    other: Mapping[str, str]
    english: Mapping[str, str]
    gold: Sequence[tuple[str, str]]

    def write(self, folder: Path, stem: str, language: str = "de") -> Path:
        """BUCC's three files."""
        for side, pool in ((language, self.other), ("en", self.english)):
            write(folder / f"{stem}.{side}", [f"{identity}\t{text}" for identity, text in pool.items()])
        write(folder / f"{stem}.gold", ["\t".join(pair) for pair in self.gold])
        return folder


BITEXT = Bitext(
    other={"de-1": "Der Hund schläft.", "de-2": "Niemand weiß es.", "de-3": "Brot ist teuer."},
    english={"en-1": "Bread is expensive.", "en-2": "The dog sleeps."},
    gold=[("de-1", "en-2"), ("de-3", "en-1")],
)


def read(
    task: TaskSpec, folder: Path, language: str = "de", split: str = "test", limit: int | None = None
) -> RowSet:
    """What a task finds in a data folder."""
    return sources.read(task, language, split, DataLocation.parse(str(folder)), limit)


def told(task: TaskSpec, folder: Path, split: str = "test") -> str:
    """What is wrong with a data folder."""
    with pytest.raises(DataError) as caught:
        read(task, folder, split=split)
    return str(caught.value)


def pairing(rows: RowSet) -> set[tuple[str, tuple[str, ...]]]:
    """Sentences of the other language with the texts of their translations."""
    examples: list[Any] = list(rows.examples)
    text = {example.id: example.text for example in examples}
    return {
        (example.text, tuple(text[other] for other in example.gold))
        for example in examples
        if example.side == "xx"
    }


def test_lasers_layout_pairs_line_with_line(tmp_path: Path) -> None:
    rows = read(TATOEBA, laser(tmp_path))
    assert rows.source == "laser"
    assert pairing(rows) == {(other, (english,)) for other, english in PAIRS}
    assert len(rows.examples) == 2 * len(PAIRS)


def test_xtremes_labels_give_the_pairs_of_lasers_lines(tmp_path: Path) -> None:
    theirs, ours = read(TATOEBA, xtreme(tmp_path / "x")), read(TATOEBA, laser(tmp_path / "l"))
    assert theirs.source == "xtreme"
    assert pairing(theirs) == pairing(ours)
    english: list[Any] = [example for example in theirs.examples if example.id.startswith("en-")]
    assert [example.text for example in english] == sorted(example.text for example in english)
    back: dict[str, Any] = {example.id: example for example in theirs.examples}
    assert all(back[other].gold == (example.id,) for example in back.values() for other in example.gold)


def test_gzipped_twins_and_windows_files_are_the_same_data(tmp_path: Path) -> None:
    plain = read(TATOEBA, laser(tmp_path / "plain"))
    pack(laser(tmp_path / "packed"))
    windows = laser(tmp_path / "windows", end="\r\n", start=b"\xef\xbb\xbf")
    assert read(TATOEBA, tmp_path / "packed") == plain
    assert read(TATOEBA, windows) == plain
    pack(BITEXT.write(tmp_path / "bucc", "bucc2018/de-en.test"))
    assert pairing(read(BUCC, tmp_path / "bucc"))


def test_line_separators_of_unicode_stay_inside_a_sentence(tmp_path: Path) -> None:
    pairs = [("eins\u2028zwei\x0b", "one\x85two"), ("drei", "three")]
    assert pairing(read(TATOEBA, laser(tmp_path, pairs))) == {(other, (english,)) for other, english in pairs}


@pytest.mark.parametrize(
    ("split", "stem", "source"),
    [
        ("test", "bucc2018/de-en.test", "xtreme"),
        ("dev", "bucc2018/de-en.dev", "xtreme"),
        ("test", "bucc2018/de-en.training", "bucc"),
        ("dev", "bucc2018/de-en.sample", "bucc"),
        ("test", "bucc2018/de-en/de-en.training", "bucc-archive"),
        ("dev", "bucc2018/de-en/de-en.sample", "bucc-archive"),
    ],
)
def test_every_layout_of_bucc_is_the_same_data(tmp_path: Path, split: str, stem: str, source: str) -> None:
    rows = read(BUCC, BITEXT.write(tmp_path / "here", stem), split=split)
    assert rows.source == source
    assert pairing(rows) == {
        ("Der Hund schläft.", ("The dog sleeps.",)),
        ("Niemand weiß es.", ()),
        ("Brot ist teuer.", ("Bread is expensive.",)),
    }
    usual = read(BUCC, BITEXT.write(tmp_path / "usual", "bucc2018/de-en.test"))
    assert rows.fingerprint == usual.fingerprint


def test_the_fingerprint_is_of_content_alone(tmp_path: Path) -> None:
    here, elsewhere = laser(tmp_path / "here"), laser(tmp_path / "some" / "other place")
    packed = laser(tmp_path / "packed")
    pack(packed)
    other_layout = xtreme(tmp_path / "layout", labels=range(len(PAIRS)), ordered=False)
    found = {read(TATOEBA, folder).fingerprint for folder in (here, elsewhere, packed, other_layout)}
    assert len(found) == 1
    changed = [*PAIRS[:3], (PAIRS[3][0], "I do not know him!")]
    assert read(TATOEBA, laser(tmp_path / "changed", changed)).fingerprint not in found
    swapped = [PAIRS[1], PAIRS[0], *PAIRS[2:]]
    assert read(TATOEBA, laser(tmp_path / "swapped", swapped)).fingerprint not in found
    wrong = Bitext(BITEXT.other, BITEXT.english, [("de-1", "en-1"), ("de-3", "en-2")])
    gold = [
        read(BUCC, bitext.write(tmp_path / name, "bucc2018/de-en.test")).fingerprint
        for name, bitext in (("right", BITEXT), ("wrong", wrong))
    ]
    assert gold[0] != gold[1]


def test_files_of_unequal_length_are_refused_with_both_counts(tmp_path: Path) -> None:
    laser(tmp_path)
    write(tmp_path / "tatoeba/v1/tatoeba.deu-eng.eng", ["one", "two"])
    message = told(TATOEBA, tmp_path)
    for word in ("tatoeba/de/test", "tatoeba.deu-eng.deu has 4 lines", "tatoeba.deu-eng.eng has 2"):
        assert word in message


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        pytest.param([0, 1, 2], ["test-de.tsv has 3 lines", "4"], id="too few"),
        pytest.param([0, 1, 2, 4], ["test-de.tsv, line 4", "'4'", "0 to 3"], id="past the end"),
        pytest.param([0, -1, 2, 3], ["test-de.tsv, line 2", "'-1'"], id="negative"),
        pytest.param([0, "two", 2, 3], ["test-de.tsv, line 2", "'two'"], id="a word"),
        pytest.param([0, "²", 2, 3], ["test-de.tsv, line 2", "'²'"], id="a digit that is no number"),
        pytest.param([0, 1, 1, 3], ["test-de.tsv, line 3", "'1'"], id="twice"),
        pytest.param([0, "1\t1", 2, 3], ["test-de.tsv, line 2", "2 tab-separated fields"], id="two columns"),
    ],
)
def test_a_label_that_cannot_be_is_refused_with_file_and_line(
    tmp_path: Path, labels: list[object], words: list[str]
) -> None:
    message = told(TATOEBA, xtreme(tmp_path, labels))
    for word in ["tatoeba/de/test", *words]:
        assert word in message


def test_a_gold_id_that_no_file_has_is_refused_with_file_and_line(tmp_path: Path) -> None:
    bad = Bitext(BITEXT.other, BITEXT.english, [*BITEXT.gold, ("de-1", "en-77")])
    message = told(BUCC, bad.write(tmp_path, "bucc2018/de-en.test"))
    for word in ("bucc2018/de/test", "de-en.test.gold, line 3", "'en-77'", "de-en.test.en"):
        assert word in message


def test_an_id_that_occurs_twice_is_refused_with_file_and_line(tmp_path: Path) -> None:
    BITEXT.write(tmp_path, "bucc2018/de-en.test")
    write(tmp_path / "bucc2018/de-en.test.de", ["de-1\teins", "de-3\tdrei", "de-1\tnoch eins"])
    message = told(BUCC, tmp_path)
    for word in ("bucc2018/de/test", "de-en.test.de, line 3", "'de-1'", "second time"):
        assert word in message


def test_a_line_with_too_many_fields_is_refused_with_file_and_line(tmp_path: Path) -> None:
    BITEXT.write(tmp_path, "bucc2018/de-en.test")
    write(tmp_path / "bucc2018/de-en.test.en", ["en-1\tone", "en-2\ttwo\tmore"])
    assert "de-en.test.en, line 2: 3 tab-separated fields where 2" in told(BUCC, tmp_path)


def test_bytes_that_are_not_utf_8_are_refused_with_file_and_line(tmp_path: Path) -> None:
    laser(tmp_path)
    path = tmp_path / "tatoeba/v1/tatoeba.deu-eng.deu"
    path.write_bytes("eins\nzwei\nfünf\nsechs\n".encode("latin-1"))
    message = told(TATOEBA, tmp_path)
    for word in (f"{path}, line 3", "not UTF-8", "0xfc", "convert"):
        assert word in message


def test_a_cut_gzip_file_is_refused_with_its_name(tmp_path: Path) -> None:
    pack(laser(tmp_path, PAIRS * 50))
    path = tmp_path / "tatoeba/v1/tatoeba.deu-eng.deu.gz"
    path.write_bytes(path.read_bytes()[:-30])
    assert f"{path}: cannot be read" in told(TATOEBA, tmp_path)


def test_an_empty_file_is_no_data(tmp_path: Path) -> None:
    assert "holds no example" in told(TATOEBA, laser(tmp_path, []))


def test_another_split_that_is_there_is_offered(tmp_path: Path) -> None:
    message = told(BUCC, BITEXT.write(tmp_path, "bucc2018/de-en.dev"))
    assert "--split bucc2018=dev" in message
    assert "bucc2018/de-en.test.de" in message


def test_a_limit_takes_the_same_part_each_time_and_keeps_both_sides(tmp_path: Path) -> None:
    whole = sources.read(TATOEBA, "sw", "test", SAMPLES)
    part = sources.read(TATOEBA, "sw", "test", SAMPLES, 7)
    assert part == sources.read(TATOEBA, "sw", "test", SAMPLES, 7)
    assert len(part.examples) == 14
    assert part.fingerprint != whole.fingerprint
    assert set(part.examples) < set(whole.examples)
    assert pairing(part) < pairing(whole)
    larger = sources.read(TATOEBA, "sw", "test", SAMPLES, 9)
    assert set(part.examples) < set(larger.examples)
    assert sources.read(TATOEBA, "sw", "test", SAMPLES, 999) == whole
    mined = sources.read(BUCC, "de", "test", SAMPLES, 5)
    every: list[Any] = list(mined.examples)
    assert sum(example.side == "xx" and bool(example.gold) for example in every) == 5
    assert any(not example.gold for example in every)


def test_less_than_the_whole_set_is_said_in_the_same_words_for_all_languages(tmp_path: Path) -> None:
    """Items count, not sentences: four pairs are eight sentences of the five pairs that were published."""
    folder = DataLocation(kind="files", folder=laser(tmp_path))

    def caveats(published: int, location: DataLocation = folder) -> tuple[str, ...]:
        task = replace(TATOEBA, sizes={"test": {"de": published}})
        return sources.read(task, "de", "test", location).caveats

    assert caveats(4) == caveats(3) == ()
    assert caveats(5) == ("only a part of tatoeba/test is there",)
    assert caveats(1000, SAMPLES) == ()


def test_what_a_folder_holds_is_available(tmp_path: Path) -> None:
    laser(tmp_path)
    xtreme(tmp_path)
    write(tmp_path / "tatoeba/v1/tatoeba.fra-eng.fra", ["un"])
    pack(BITEXT.write(tmp_path, "bucc2018/zh-en.sample", "zh"))
    here = DataLocation.parse(str(tmp_path))
    assert sources.available(TATOEBA, "test", here) == ("de",)
    assert sources.available(BUCC, "dev", here) == ("zh",)
    assert sources.available(BUCC, "test", here) == ()
    assert sources.available(TATOEBA, "test", SAMPLES) == ("ar", "de", "es", "sw", "zh")
    assert sources.available(BUCC, "test", DataLocation(kind="hub")) == BUCC.languages


def test_the_real_files_of_tatoeba_are_read(real_data: Path) -> None:
    where = DataLocation.parse(str(real_data))
    found = sources.available(TATOEBA, "test", where)
    assert len(found) >= 36
    for language in found:
        rows = sources.read(TATOEBA, language, "test", where)
        assert len(pairing(rows)) <= len(rows.examples) // 2 <= 1000


# The hub, served from this machine in its own layout.


class Mirror:
    """A server that answers what the hub's client asks when it fetches data sets at a commit."""

    def __init__(self, repositories: Mapping[str, tuple[str, Path]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            known: ClassVar[Mapping[str, tuple[str, Path]]] = repositories
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def _answer(self) -> None:
                path = unquote(urlsplit(self.path).path).strip("/")
                for name, (revision, folder) in self.known.items():
                    if path in (f"api/datasets/{name}", f"api/datasets/{name}/revision/{revision}"):
                        siblings = [{"rfilename": file} for file in _files(folder)]
                        return self._json({"id": name, "sha": revision, "siblings": siblings})
                    if path.startswith(f"api/datasets/{name}/tree/{revision}"):
                        return self._json([_entry(folder, file) for file in _files(folder)])
                    start = f"datasets/{name}/resolve/{revision}/"
                    if path.startswith(start) and path.removeprefix(start) in _files(folder):
                        data = (folder / path.removeprefix(start)).read_bytes()
                        return self._send(200, data, {"ETag": f'"{_blob(data)}"', "X-Repo-Commit": revision})
                return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

            def _json(self, value: object) -> None:
                self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

            def _send(self, code: int, data: bytes, headers: Mapping[str, str]) -> None:
                self.send_response(code)
                for key, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(folder: Path, file: str) -> dict[str, object]:
    data = (folder / file).read_bytes()
    return {"type": "file", "path": file, "size": len(data), "oid": _blob(data)}


def hub_source(task: TaskSpec) -> HubSource:
    """The one hub source of a task."""
    (source,) = [source for source in task.sources if isinstance(source, HubSource)]
    return source


@dataclass(frozen=True)
class Fetched:
    """Hub data that was fetched from the mirror, which is gone, and the same data as files."""

    hub: Path
    home: Path
    files: Path
    said: subprocess.CompletedProcess[str]

    def __call__(
        self, *arguments: object, hub: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """``harness ARGUMENTS`` in a process of its own, without a network."""
        return harness(arguments, hub or self.hub, self.home, {"HF_HUB_OFFLINE": "1", **more})


def harness(
    arguments: Sequence[object], hub: Path, home: Path, more: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """``harness ARGUMENTS`` in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HARNESS_"))}
    kept |= {
        "HF_HOME": str(hub),
        "HARNESS_HOME": str(home),
        "PYTHONUTF8": "1",
        "HF_HUB_DISABLE_XET": "1",
        **more,
    }
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(
        command, check=False, env=kept, cwd=home, capture_output=True, text=True, encoding="utf-8"
    )


def sample_bitext() -> Bitext:
    """The sample's BUCC sentences under ids that count from 1, as the hub's rows imply them."""
    rows = sources.read(BUCC, "de", "test", SAMPLES)
    examples: list[Any] = list(rows.examples)
    pools = {side: [example for example in examples if example.side == side] for side in ("xx", "en")}
    new = {
        example.id: f"{code}-{number}"
        for side, code in (("xx", "de"), ("en", "en"))
        for number, example in enumerate(pools[side], start=1)
    }
    return Bitext(
        {new[example.id]: example.text for example in pools["xx"]},
        {new[example.id]: example.text for example in pools["en"]},
        [(new[example.id], new[other]) for example in pools["xx"] for other in example.gold],
    )


def tatoeba_repository(folder: Path) -> None:
    """``mteb/tatoeba-bitext-mining``: one JSON-lines file of all languages."""
    write(folder / "README.md", ["---", "license: cc-by-2.0", "---", "# Tatoeba"])
    rows = []
    for language, code in (("de", "deu"), ("sw", "swh")):
        for other, english in sorted(pairs_of(language)):
            rows.append({"sentence1": other, "sentence2": english, "lang": f"{code}-eng"})
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "test").mkdir()
    (folder / "test" / "tatoeba.jsonl.gz").write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    # Not among the patterns, so never fetched.
    write(folder / "extra.bin", ["x"])


def pairs_of(language: str) -> list[tuple[str, str]]:
    """The sample's pairs of Tatoeba."""
    return [
        (other, english[0]) for other, english in pairing(sources.read(TATOEBA, language, "test", SAMPLES))
    ]


def bucc_repository(folder: Path, bitext: Bitext) -> None:
    """``mteb/BUCC``: a configuration per language pair, one row of lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = ["---", "configs:"]
    for language in ("de", "zh"):
        lines += [
            f"- config_name: {language}-en",
            "  data_files:",
            "  - split: test",
            f"    path: {language}-en/test-*",
        ]
        (folder / f"{language}-en").mkdir(parents=True)
        other, english = list(bitext.other), list(bitext.english)
        gold = [[other.index(left) + 1, english.index(right) + 1] for left, right in bitext.gold]
        row = {"sentence1": [*bitext.other.values()], "sentence2": [*bitext.english.values()], "gold": gold}
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{language}-en" / "test-00000-of-00001.parquet")
    write(folder / "README.md", [*lines, "---", "# BUCC"])


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory, harness_home: Path, sample_model: Path) -> Fetched:
    """Both data sets fetched from the mirror, which is switched off afterwards."""
    folder = tmp_path_factory.mktemp("hub")
    bitext = sample_bitext()
    tatoeba_repository(_made(folder / "tatoeba"))
    bucc_repository(_made(folder / "bucc"), bitext)
    bitext.write(folder / "files", "bucc2018/de-en.test")
    laser(folder / "files", sorted(pairs_of("de")))
    home = _made(folder / "home")
    (home / "models").symlink_to(sample_model.parent, target_is_directory=True)
    (home / "embeddings").symlink_to(_made(harness_home / "embeddings"), target_is_directory=True)
    repositories = {
        hub_source(task).repository: (hub_source(task).revision, folder / name)
        for task, name in ((TATOEBA, "tatoeba"), (BUCC, "bucc"))
    }
    with Mirror(repositories) as address:
        said = harness(
            ["data", "fetch", "-t", "tatoeba,bucc2018"], folder / "hf", home, {"HF_ENDPOINT": address}
        )
    assert said.returncode == 0, said.stderr
    return Fetched(folder / "hf", home, folder / "files", said)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


EVAL = ("eval", "-m", "sample", "-t", "tatoeba,bucc2018", "-l", "de", "--offline")


def test_fetching_tells_revision_and_number_of_files(fetched: Fetched) -> None:
    for task, count in ((TATOEBA, 2), (BUCC, 3)):
        source = hub_source(task)
        assert f"{source.repository}@{source.revision}: {count} files" in fetched.said.stdout
    noted = json.loads((fetched.home / "data" / "manifest.json").read_text(encoding="utf-8"))["items"]
    assert len(noted) == 5
    assert not [item for item in noted if item["path"] == "extra.bin"]


@pytest.mark.full
def test_an_offline_run_on_fetched_data_gives_the_scores_of_the_same_data_as_files(
    fetched: Fetched, cli: Callable[..., Any], tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    said = fetched(*EVAL, "--data", "hub", "-o", tmp_path / "hub", "--json")
    assert said.returncode == 0, said.stderr
    theirs = json.loads(said.stdout)["records"]
    done = cli(*EVAL, "--data", fetched.files, "-o", tmp_path / "files", "--json")
    assert done.code == 0, done.err
    ours = json.loads(done.out)["records"]
    assert len(theirs) == 9
    for mine, other in zip(ours, theirs, strict=True):
        source = hub_source(TATOEBA if other["task"] == "tatoeba" else BUCC)
        assert other["source"] == f"{source.repository}@{source.revision}"
        differing = {"run", "source"}
        assert {k: v for k, v in mine.items() if k not in differing} == {
            k: v for k, v in other.items() if k not in differing
        }
    for path in sorted((tmp_path / "files" / "predictions").rglob("*.parquet")):
        twin = tmp_path / "hub" / path.relative_to(tmp_path / "files")
        assert pq.read_table(path).equals(pq.read_table(twin)), path.name


def test_mining_without_a_dev_set_is_marked_as_not_comparable(
    fetched: Fetched, cli: Callable[..., Any], tmp_path: Path
) -> None:
    done = cli(
        "eval",
        "-m",
        "sample",
        "-t",
        "bucc2018",
        "-l",
        "de",
        "--data",
        fetched.files,
        "-o",
        tmp_path / "r",
        "--json",
    )
    assert done.code == 0, done.err
    for record in json.loads(done.out)["records"]:
        assert any("half" in caveat for caveat in record["caveats"])
        assert record["facts"]["tuned_on"] == "half:sha256"


def test_a_changed_byte_in_the_cache_is_found(fetched: Fetched, tmp_path: Path) -> None:
    copy = tmp_path / "hf"
    shutil.copytree(fetched.hub, copy, symlinks=True)
    verify = ("data", "verify", "-t", "tatoeba,bucc2018")
    said = fetched(*verify, hub=copy)
    assert said.returncode == 0, said.stderr
    (path,) = copy.rglob("snapshots/*/test/tatoeba.jsonl.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.resolve().write_bytes(bytes(data))
    said = fetched(*verify, hub=copy)
    assert said.returncode == 2
    assert said.stderr.startswith("harness: tatoeba: ")
    assert "test/tatoeba.jsonl.gz has changed" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_file_that_is_gone_from_the_cache_is_named(fetched: Fetched, tmp_path: Path) -> None:
    copy = tmp_path / "hf"
    shutil.copytree(fetched.hub, copy, symlinks=True)
    (path,) = copy.rglob("snapshots/*/test/tatoeba.jsonl.gz")
    path.resolve().unlink()
    said = fetched("data", "verify", "-t", "tatoeba,bucc2018", hub=copy)
    assert said.returncode == 2
    assert "tatoeba.jsonl.gz is missing" in said.stderr


@pytest.mark.full
def test_a_pack_brings_the_data_to_a_machine_without_a_network(fetched: Fetched, tmp_path: Path) -> None:
    said = fetched("data", "pack", "-t", "tatoeba,bucc2018", "-o", tmp_path / "data.tar")
    assert said.returncode == 0, said.stderr
    fresh = tmp_path / "fresh"
    said = fetched("data", "unpack", tmp_path / "data.tar", hub=fresh)
    assert said.returncode == 0, said.stderr
    assert "5 files" in said.stdout
    said = fetched("data", "verify", "-t", "tatoeba,bucc2018", hub=fresh)
    assert said.returncode == 0, said.stderr
    said = fetched(*EVAL, "--data", "hub", "-o", tmp_path / "run", "--json", hub=fresh)
    assert said.returncode == 0, said.stderr
    assert len(json.loads(said.stdout)["records"]) == 9


def test_a_damaged_pack_is_refused(fetched: Fetched, tmp_path: Path) -> None:
    archive = tmp_path / "data.tar"
    assert fetched("data", "pack", "-t", "tatoeba", "-o", archive).returncode == 0
    data = bytearray(archive.read_bytes())
    place = data.index(gzip.compress(b"")[:3]) + 40
    data[place] ^= 1
    archive.write_bytes(bytes(data))
    said = fetched("data", "unpack", archive, hub=tmp_path / "fresh")
    assert said.returncode == 2
    assert "test/tatoeba.jsonl.gz is damaged" in said.stderr
    assert not list((tmp_path / "fresh").rglob("*.gz"))


NOTHING_TO_BE_HAD = ("harness: ", "mteb/tatoeba-bitext-mining", "not cached", "harness data fetch", "--data")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("data", "fetch", "-t", "tatoeba", "--offline"), id="fetch --offline"),
        pytest.param(("data", "fetch", "-t", "tatoeba"), id="fetch"),
        pytest.param(EVAL, id="eval --offline", marks=pytest.mark.full),
    ],
)
def test_with_nothing_cached_and_no_network_allowed_one_line_says_what_to_do(
    fetched: Fetched, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    said = fetched(*(argument.replace(",bucc2018", "") for argument in arguments), hub=tmp_path / "empty")
    assert said.returncode == 2
    assert len(said.stderr.strip().splitlines()) == 1, said.stderr
    for word in NOTHING_TO_BE_HAD:
        assert word in said.stderr


@pytest.mark.full  # the hub's client tries for half a minute
def test_with_nothing_cached_and_no_answer_one_line_says_what_to_do(fetched: Fetched, tmp_path: Path) -> None:
    more = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    said = fetched("data", "fetch", "-t", "tatoeba", hub=tmp_path / "empty", **more)
    assert said.returncode == 2
    for word in NOTHING_TO_BE_HAD:
        assert word in said.stderr.strip().splitlines()[-1]
    assert len(said.stderr.strip().splitlines()) == 1, said.stderr


def test_the_sample_is_packed_as_files_and_unpacked_anywhere(cli: Callable[..., Any], tmp_path: Path) -> None:
    archive, folder = tmp_path / "sample.tar", tmp_path / "unpacked"
    assert cli("data", "pack", "-t", "xtreme", "--data", "sample", "-o", archive).code == 0
    first = archive.read_bytes()
    assert cli("data", "pack", "-t", "xtreme", "--data", "sample", "-o", archive).code == 0
    assert archive.read_bytes() == first, "the same data gives the same archive"
    refused = cli("data", "unpack", archive)
    assert refused.code == 2
    assert "--to" in refused.err
    assert cli("data", "unpack", archive, "--to", folder).code == 0
    assert cli("data", "verify", "-t", "xtreme", "--data", folder).code == 0
    for task, language in ((TATOEBA, "sw"), (BUCC, "zh")):
        assert (
            read(task, folder, language).fingerprint
            == sources.read(task, language, "test", SAMPLES).fingerprint
        )
    (folder / "bucc2018" / "zh-en.test.gold").write_text("x\ty\n", encoding="utf-8")
    refused = cli("data", "verify", "-t", "xtreme", "--data", folder)
    assert refused.code == 2
    assert "zh-en.test.gold has changed" in refused.err


@pytest.fixture(autouse=True)
def _settings(isolated: object) -> None:
    """Nothing here may touch the user's caches."""
