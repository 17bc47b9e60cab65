"""Universal Dependencies in CoNLL-U: surface tokens as XTREME makes them, by hand, by networkx, and on XTREME's files."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness_xtreme import conllu, tag_columns
from harness_xtreme.udpos import UDPOS, UDPOS_SYNTACTIC
from harness_xtreme.udpos_hub import TAGS
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import files, sources
from harness.sources import DataLocation, RowSet

GERMAN = """\
# newdoc id = d1
# sent_id = weather-1
# text = Er ging zum Markt.
1\tEr\ter\tPRON\tPPER\t_\t2\tnsubj\t2:nsubj\t_
2\tging\tgehen\tVERB\tVVFIN\t_\t0\troot\t0:root\t_
2.1\tging\tgehen\tVERB\t_\t_\t_\t_\t0:root\t_
3-4\tzum\t_\t_\t_\t_\t_\t_\t_\t_
3\tzu\tzu\tADP\tAPPR\t_\t5\tcase\t5:case\t_
4\tdem\tder\tDET\tART\t_\t5\tdet\t5:det\t_
5\tMarkt\tMarkt\tNOUN\tNN\t_\t2\tobl\t2:obl:zu\tSpaceAfter=No
6\t.\t.\tPUNCT\t$.\t_\t2\tpunct\t2:punct\t_

1\tJa\tja\tPART\tPTKANT\t_\t0\troot\t_\t_
"""


def line(number: object, form: str, tag: str = "_", head: object = "_", deps: str = "_") -> str:
    """One line of a treebank."""
    return "\t".join([str(number), form, "_", tag, "_", "_", str(head), "_", deps, "_"])


def treebank(folder: Path, *lines: str, name: str = "de_gsd-ud-test.conllu") -> Path:
    """A file of these lines."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
    return path


def sentences(path: Path, language: str = "de", *, surface: bool = True) -> list[conllu.Sentence]:
    """What is read from a file."""
    return list(conllu.read_sentences(path, language, TAGS, surface=surface))


def tokens(path: Path, language: str = "de") -> list[tuple[str, str]]:
    """Surface tokens of a file's only sentence, with their tags."""
    (sentence,) = sentences(path, language)
    return list(zip(sentence.words, sentence.tags, strict=True))


def test_a_multiword_token_is_one_token_or_its_words(tmp_path: Path) -> None:
    path = treebank(tmp_path, *GERMAN.split("\n")[:-1])
    surface, ja = sentences(path)
    assert surface == conllu.Sentence(
        id="weather-1",
        words=("Er", "ging", "zum", "Markt", "."),
        tags=("PRON", "VERB", "ADP", "NOUN", "PUNCT"),
    )
    words, also_ja = sentences(path, surface=False)
    assert words.words == ("Er", "ging", "zu", "dem", "Markt", ".")
    assert words.tags == ("PRON", "VERB", "ADP", "DET", "NOUN", "PUNCT")
    assert ja == also_ja == conllu.Sentence(id=None, words=("Ja",), tags=("PART",))


def test_a_token_has_the_tag_of_its_highest_word(tmp_path: Path) -> None:
    """Spanish "vámonos": the verb is the root, the pronoun hangs on it, whatever comes first."""
    for order in (("VERB", "PRON"), ("PRON", "VERB")):
        root = order.index("VERB") + 1
        words = [line(n, "x", tag, 0 if n == root else root) for n, tag in enumerate(order, start=1)]
        assert tokens(treebank(tmp_path, line("1-2", "vámonos"), *words)) == [("vámonos", "VERB")]


@pytest.mark.parametrize(
    ("language", "tags", "expected"),
    [
        ("de", ("ADP", "DET"), "ADP"),
        ("de", ("DET", "ADP"), "ADP"),
        ("de", ("AUX", "NOUN"), "NOUN"),
        ("es", ("NOUN", "AUX"), "AUX"),
        ("es", ("NOUN", "ADJ"), "NOUN"),
        ("fr", ("DET", "ADP"), "ADP"),
        ("it", ("PRON", "ADV"), "ADV"),
        ("de", ("PRON", "ADV"), "PRON"),
        ("de", ("SYM", "PUNCT"), "PUNCT"),
        ("de", ("CCONJ", "PART", "SCONJ"), "PART"),
    ],
)
def test_of_equally_high_words_the_ranking_decides(
    tmp_path: Path, language: str, tags: tuple[str, ...], expected: str
) -> None:
    last = len(tags)
    words = [line(n, "x", tag, last + 1) for n, tag in enumerate(tags, start=1)]
    path = treebank(tmp_path, line(f"1-{last}", "xx"), *words, line(last + 1, "y", "NOUN", 0))
    assert tokens(path, language) == [("xx", expected), ("y", "NOUN")]


def test_heads_of_the_enhanced_tree_count_as_in_xtremes_converter(tmp_path: Path) -> None:
    """Both words hang on word 3; the enhanced edge to word 4 puts the noun lower, so the determiner wins."""
    words = [line(3, "y", "VERB", 0), line(4, "z", "VERB", 3)]
    for deps, expected in (("_", "NOUN"), ("3:x|4:y:z", "DET"), ("3:x|8.1:y", "NOUN")):
        path = treebank(
            tmp_path,
            line("1-2", "xx"),
            line(1, "a", "NOUN", 3, deps),
            line(2, "b", "DET", 3),
            *words,
        )
        assert tokens(path)[0] == ("xx", expected), deps


def test_spaces_and_the_zero_width_non_joiner_go_as_in_xtremes_files(tmp_path: Path) -> None:
    path = treebank(
        tmp_path,
        line(1, "bắt chuyện", "VERB", 0),
        line(2, "می\u200cرود", "VERB", 1),
        line(3, "1\u00a0000", "NUM", 1),
        line(4, "\u200c", "X", 1),
    )
    assert [word for word, _ in tokens(path)] == ["bắtchuyện", "میرود", "1\u00a0000", "\u200c"]


@pytest.mark.parametrize(
    ("words", "kept"),
    [("_ _ _", False), ("_ _ .", False), ("_ .", False), ("_", False), ("_ a .", True), ("a", True)],
)
def test_a_sentence_whose_text_is_hidden_is_left_out(tmp_path: Path, words: str, kept: bool) -> None:
    """XTREME: an underscore, and at most one word that is none."""
    lines = [line(n, word, "NOUN", n - 1) for n, word in enumerate(words.split(), start=1)]
    assert bool(sentences(treebank(tmp_path, *lines))) is kept


SMALL_TAGS = st.sampled_from(["VERB", "NOUN", "DET", "ADP", "SYM"])


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[str], list[list[int]], list[tuple[int, int]]]:
    """Tags, heads (several, also in circles) and ranges of multiword tokens."""
    size = draw(st.integers(1, 8))
    tags = draw(st.lists(SMALL_TAGS, min_size=size, max_size=size))
    heads = draw(
        st.lists(st.lists(st.integers(0, size), min_size=1, max_size=3), min_size=size, max_size=size)
    )
    cuts = sorted(draw(st.sets(st.integers(1, size))) | {1, size + 1})
    ranges = [(begin, end - 1) for begin, end in itertools.pairwise(cuts) if end - begin > 1]
    return tags, heads, draw(st.lists(st.sampled_from(ranges), unique=True)) if ranges else []


@settings(deadline=None)
@given(tree=trees(), language=st.sampled_from(["de", "es", "fr", "it"]))
def test_tags_of_surface_tokens_agree_with_networkx(
    tmp_path_factory: pytest.TempPathFactory,
    tree: tuple[list[str], list[list[int]], list[tuple[int, int]]],
    language: str,
) -> None:
    """XTREME's converter counts ``networkx.ancestors``; that is the oracle."""
    networkx: Any = importlib.import_module("networkx")  # comes with torch
    tags, heads, ranges = tree
    graph: Any = networkx.DiGraph()
    graph.add_nodes_from(range(len(tags) + 1))
    lines: list[str] = []
    for number, (tag, above) in enumerate(zip(tags, heads, strict=True), start=1):
        graph.add_edges_from((head, number) for head in above)
        lines += [line(f"{begin}-{end}", f"f{begin}") for begin, end in ranges if begin == number]
        lines.append(line(number, f"w{number}", tag, above[0], "|".join(f"{head}:x" for head in above)))
    order = {
        "de": "VERB NOUN ADP DET SYM",
        "es": "VERB ADP DET",
        "fr": "VERB NOUN ADP DET",
        "it": "VERB ADP DET",
    }
    rank = {tag: number for number, tag in enumerate(order[language].split())}
    expected: list[tuple[str, str]] = []
    number = 1
    while number <= len(tags):
        span = next(((b, e) for b, e in ranges if b == number), (number, number))
        nodes = range(span[0], span[1] + 1)
        depth = {node: len(networkx.ancestors(graph, node)) for node in nodes}
        best = min(
            nodes,
            key=lambda node: (depth[node], rank.get(tags[node - 1], 99) if len(nodes) > 1 else 0, node),
        )
        expected.append((f"f{span[0]}" if span in ranges else f"w{number}", tags[best - 1]))
        number = span[1] + 1
    path = treebank(tmp_path_factory.mktemp("tree"), *lines)
    assert tokens(path, language) == expected
    (words,) = sentences(path, language, surface=False)
    assert words.tags == tuple(tags)


def read(folder: Path, language: str = "de", split: str = "test", *, surface: bool = True) -> RowSet:
    """What the task finds in a data folder with treebanks."""
    task = UDPOS if surface else UDPOS_SYNTACTIC
    return sources.read(task, language, split, DataLocation.parse(str(folder)))


def ids(rows: RowSet) -> list[str]:
    """Ids of the examples, in order."""
    return [example.id for example in rows.examples]


def test_the_treebanks_of_a_language_are_joined_in_the_order_of_their_file_names(tmp_path: Path) -> None:
    for name, words in (("PUD", "p"), ("HDT", "h"), ("GSD", "g"), ("LIT", "l")):
        treebank(
            tmp_path,
            line(1, words, "NOUN", 0),
            name=f"ud/UD_German-{name}/de_{name.lower()}-ud-test.conllu",
        )
    rows = read(tmp_path)
    found: list[Any] = list(rows.examples)
    assert [example.words for example in found] == [("g",), ("h",), ("l",), ("p",)]
    assert ids(rows) == ["de_gsd-1", "de_hdt-1", "de_lit-1", "de_pud-1"]
    assert rows.source == "ud"
    assert rows.repairs == {}


def test_sentence_ids_are_kept_where_they_are_unique(tmp_path: Path) -> None:
    treebank(
        tmp_path,
        "# sent_id = a b",
        line(1, "x", "X", 0),
        "",
        "# sent_id = twice",
        line(1, "x", "X", 0),
        "",
        line(1, "x", "X", 0),
        "",
        "# sent_id = twice",
        line(1, "x", "X", 0),
        "",
        "# sent_id = de_gsd-3",
        line(1, "x", "X", 0),
        name="ud/UD_German-GSD/de_gsd-ud-test.conllu",
    )
    assert ids(read(tmp_path)) == ["a b", "de_gsd-2", "de_gsd-3", "de_gsd-4", "de_gsd-5"]


def test_a_set_without_all_treebanks_says_so(tmp_path: Path) -> None:
    treebank(tmp_path, *GERMAN.split("\n")[:-1], name="ud/UD_German-GSD/de_gsd-ud-test.conllu")
    told = "only a part of XTREME's de test set: without the treebanks German-HDT, German-LIT, German-PUD"
    assert read(tmp_path).caveats == (told,)
    assert read(tmp_path).repairs == {}
    assert sources.available(UDPOS, "test", DataLocation.parse(str(tmp_path))) == ("de",)
    assert sources.available(UDPOS, "dev", DataLocation.parse(str(tmp_path))) == ()


# Of the first 300 sentences of XTREME's files, made from UD 2.5: how many have the same words in the present treebank,
# how many the same tags too, and what share of all their tags is the same. Languages whose XTREME file begins with
# another treebank than the one at hand, or whose treebank has been segmented anew since, are not here.
AGREEMENT: Mapping[str, tuple[int, int, float]] = {
    "af": (273, 245, 99.5),
    "bg": (300, 283, 99.5),
    "el": (300, 209, 98.0),
    "en": (240, 187, 98.2),
    "et": (300, 277, 99.4),
    "eu": (300, 266, 98.8),
    "fa": (300, 145, 97.3),
    "he": (288, 241, 98.9),
    "hu": (300, 297, 99.9),
    "id": (252, 118, 95.3),
    "it": (300, 293, 99.8),
    "kk": (279, 270, 99.6),
    "ko": (300, 288, 99.6),
    "mr": (47, 45, 99.4),
    "nl": (300, 277, 99.3),
    "ru": (300, 299, 99.9),
    "ta": (120, 59, 95.3),
    "te": (146, 146, 100.0),
    "th": (300, 104, 95.2),
    "ur": (300, 246, 99.2),
    "yo": (94, 46, 97.0),
}


def xtreme_and_treebank(
    folder: Path, language: str
) -> list[tuple[Sequence[str], Sequence[str], conllu.Sentence]]:
    """XTREME's words and tags with the sentence of the treebank that has the same words."""
    (path,) = (folder / "ud").glob(f"*/{language}_*-test.conllu.gz")
    known = {sentence.words: sentence for sentence in sentences(path, language)}
    theirs = tag_columns.read_sentences(folder / "udpos" / f"test-{language}.tsv", TAGS)
    return [(words, tags, known[tuple(words)]) for words, tags in theirs if tuple(words) in known]


@pytest.mark.parametrize("language", AGREEMENT)
def test_treebanks_give_the_words_and_tags_of_xtremes_files(real_data: Path, language: str) -> None:
    """The treebanks are today's, so some words and tags differ."""
    same_words, same_tags, share = AGREEMENT[language]
    found = xtreme_and_treebank(real_data, language)
    assert len(found) >= same_words
    assert sum(tuple(tags) == ours.tags for _, tags, ours in found) >= same_tags
    pairs = [pair for _, tags, ours in found for pair in zip(tags, ours.tags, strict=True)]
    assert 100 * sum(theirs == ours for theirs, ours in pairs) / len(pairs) >= share


@pytest.mark.parametrize(("language", "least"), [("it", 400), ("he", 900), ("el", 140), ("mr", 30)])
def test_multiword_tokens_have_xtremes_tags(real_data: Path, language: str, least: int) -> None:
    """The one rule that XTREME's converter adds to the treebanks, where it matters."""
    (path,) = (real_data / "ud").glob(f"*/{language}_*-test.conllu.gz")
    fused = {
        text.split("\t")[1]
        for text in files.read_lines(path)
        if text.partition("\t")[0].replace("-", "").isdecimal() and "-" in text.partition("\t")[0]
    }
    pairs = [
        (theirs, ours)
        for words, tags, sentence in xtreme_and_treebank(real_data, language)
        for word, theirs, ours in zip(words, tags, sentence.tags, strict=True)
        if word in fused
    ]
    assert len(pairs) >= least
    assert sum(theirs == ours for theirs, ours in pairs) / len(pairs) >= 0.97
