"""The format of plain texts: packing, cutting without loss, pairs in one row, and what may be masked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.tokenizer import SubwordTokenizer
from harness.errors import ModelError, SpecError, UsageError
from harness.formats.base import Head
from harness.formats.drawn import Text, text
from harness.formats.rows import IGNORED, Pieces, Template, sizes_to_starts
from harness.formats.texts import TextRows, Texts

PACKED, ALONE = Texts(), Texts(pack=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """A tokenizer whose sub-words are characters; ``?`` is unknown, ``*`` the mask, ``-`` has no sub-word."""

    template: Template
    unknown: int | None = ord("?")
    mask: int | None = ord("*")
    size: int = 256

    def pieces(self, texts: Sequence[str], *, words: bool = False) -> Pieces:
        codes = [text.replace("-", "").encode("latin-1") for text in texts]
        flat = np.array(list(b"".join(codes)), dtype=np.int32)
        nothing = np.zeros(len(flat), dtype=np.int32)
        return Pieces(ids=flat, begin=nothing, end=nothing, starts=sizes_to_starts(list(map(len, codes))))


def _letters(single: str, pair: tuple[str, str, str], *, segments: bool = False) -> Letters:
    first, middle, last = (tuple(map(ord, part)) for part in pair)
    before, behind = (tuple(map(ord, part)) for part in single.split("_"))
    return Letters(template=Template(single=(before, behind), pair=(first, middle, last), segments=segments))


ROBERTA = _letters("<_>", ("<", ">>", ">"))
BERT = _letters("[_]", ("[", "]", "]"), segments=True)
BARE = _letters("_", ("", "", ""))


def _texts(*lines: str, language: str = "en") -> list[Text]:
    return [Text(id=str(number), text=line, language=language) for number, line in enumerate(lines)]


def _pair(line: str, other: str, language: str = "de") -> Text:
    return Text(id="x", text=line, language=language, other=other)


def _rows(rows: TextRows) -> list[str]:
    return ["".join(map(chr, rows.ids[begin:end])) for begin, end in itertools.pairwise(rows.starts.tolist())]


def test_rows_of_a_data_set_become_texts() -> None:
    assert text({"id": "1", "text": "a", "language": "en"}) == Text(id="1", text="a", language="en", other="")
    assert text({"id": "1", "text": "a", "language": "de", "other": "b"}).other == "b"


def test_texts_share_a_row_as_far_as_they_fit() -> None:
    """Twelve tokens: ``<``, then each text with its ``>``; ``ghij`` would make thirteen."""
    rows = PACKED.encode(_texts("abc", "d", "ef", "ghij", "k"), ROBERTA, 12)
    assert _rows(rows) == ["<abc>d>ef>", "<ghij>k>"]
    assert rows.owner.tolist() == [0, 3]
    assert _rows(PACKED.encode(_texts("abc", "d", "efg", "hijk"), ROBERTA, 11)) == ["<abc>d>efg>", "<hijk>"]
    assert _rows(ALONE.encode(_texts("abc", "d"), ROBERTA, 12)) == ["<abc>", "<d>"]


def test_a_long_text_is_cut_and_its_rest_shares_a_row() -> None:
    """Six tokens hold four letters; the rest of the long text is followed by the next text."""
    rows = PACKED.encode(_texts("abcdefghi", "j", "klm"), ROBERTA, 6)
    assert _rows(rows) == ["<abcd>", "<efgh>", "<i>j>", "<klm>"]
    assert rows.owner.tolist() == [0, 0, 0, 2]
    assert (rows.health["truncated"], rows.health["lost"]) == (0, 0)
    assert _rows(ALONE.encode(_texts("abcdefghi", "j"), ROBERTA, 6)) == ["<abcd>", "<efgh>", "<i>", "<j>"]


def test_languages_do_not_share_a_row() -> None:
    examples = [*_texts("a", "b", language="sw"), *_texts("c", language="en"), *_texts("d", language="sw")]
    rows = PACKED.encode(examples, ROBERTA, 32)
    assert _rows(rows) == ["<a>b>", "<c>", "<d>"]
    assert rows.languages == ("en", "sw")
    assert [rows.languages[number] for number in rows.language] == ["sw", "en", "sw"]


def test_a_pair_stands_in_one_row_and_is_cut_on_the_longer_side() -> None:
    """Ten tokens leave six for the letters beside ``<``, ``>>`` and ``>``."""
    rows = PACKED.encode(
        [_pair("ab", "cd"), _pair("abcdef", "gh"), _pair("abcd", "efgh"), *_texts("x", "y", language="de")],
        ROBERTA,
        10,
    )
    assert _rows(rows) == ["<ab>>cd>", "<abcd>>gh>", "<abc>>efg>", "<x>y>"]
    assert (rows.health["truncated"], rows.owner.tolist(), rows.languages) == (2, [0, 1, 2, 3], ("de",))
    assert not rows.segments.any()


def test_the_other_side_has_its_segment_where_the_tokenizer_tells_them_apart() -> None:
    rows = PACKED.encode([_pair("ab", "c"), *_texts("d", language="de")], BERT, 10)
    assert _rows(rows) == ["[ab]c]", "[d]"]
    assert rows.segments.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0]


def test_special_and_unknown_tokens_are_never_masked_even_inside_a_text() -> None:
    rows = PACKED.encode(_texts("a<b?*c", "d"), ROBERTA, 32)
    assert _rows(rows) == ["<a<b?*c>d>"]
    assert rows.maskable.astype(int).tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1, 0]


def test_what_cannot_be_guessed_gives_no_row_and_is_counted() -> None:
    """Unknown letters only, no sub-word, nothing on either side; a text of which only a part is unknown loses that part."""
    examples = [*_texts("??", "-", "a", "????b", language="de"), _pair("?", "-"), _pair("?", "c")]
    rows = ALONE.encode(examples, ROBERTA, 6)
    assert _rows(rows) == ["<a>", "<b>", "<?>>c>"]
    assert rows.owner.tolist() == [2, 3, 5]
    assert rows.health == {
        "examples": 6, "rows": 3, "pieces": 11, "unknown": 8, "words": 8, "truncated": 0, "lost": 3,
    }  # fmt: skip


@pytest.mark.parametrize("examples", [[], _texts("??")])
def test_no_row_at_all(examples: list[Text]) -> None:
    for form in (PACKED, ALONE):
        rows = form.encode(examples, ROBERTA, 8)
        assert (rows.starts.tolist(), len(rows.ids), len(rows.language)) == ([0], 0, 0)
        assert rows.health["lost"] == len(examples)


WORDS = st.text(alphabet="abcd?*<-", max_size=14)
EXAMPLES = st.lists(
    st.tuples(WORDS, st.sampled_from(["de", "en", "sw"]), st.one_of(st.just(""), WORDS)), max_size=12
)


def _longest_first(first: str, second: str, room: int) -> tuple[str, str]:
    """Hugging Face's rule: the shorter text keeps up to half of the room, the longer one (of equal ones the second) the rest."""
    if len(first) + len(second) <= room:
        return first, second
    short = min(len(first), len(second), room // 2)
    kept = (room - short, short) if len(first) > len(second) else (short, room - short)
    return first[: kept[0]], second[: kept[1]]


def _by_hand(
    examples: Sequence[Text], tokenizer: Letters, max_length: int, pack: bool
) -> list[tuple[int, str]]:
    """Owner and letters of each row, put together with plain texts."""
    before, behind = ("".join(map(chr, part)) for part in tokenizer.template.single)
    first, middle, last = ("".join(map(chr, part)) for part in tokenizer.template.pair)
    special = {*before, *behind, *first, *middle, *last, "?", "*"}
    rows: list[tuple[int, str]] = []
    open_language = ""
    for number, example in enumerate(examples):
        line, other = example.text.replace("-", ""), example.other.replace("-", "")
        if example.other:
            sides = _longest_first(line, other, max_length - len(first + middle + last))
            if set("".join(sides)) - special:
                rows.append((number, first + sides[0] + middle + sides[1] + last))
                open_language = ""
            continue
        room = max_length - len(before + behind)
        for begin in range(0, len(line), room):
            chunk = line[begin : begin + room] + behind
            if not set(chunk) - special:
                continue
            if pack and open_language == example.language and len(rows[-1][1] + chunk) <= max_length:
                rows[-1] = (rows[-1][0], rows[-1][1] + chunk)
            else:
                rows.append((number, before + chunk))
                open_language = example.language
    return rows


@given(EXAMPLES, st.integers(5, 16), st.booleans(), st.sampled_from([ROBERTA, BERT, BARE]))
@settings(max_examples=300)
def test_every_text_is_there_once_in_order_and_every_row_fits(
    lines: list[tuple[str, str, str]], max_length: int, pack: bool, tokenizer: Letters
) -> None:
    examples = [
        Text(id=str(number), text=line, language=language, other=other)
        for number, (line, language, other) in enumerate(lines)
    ]
    rows = Texts(pack=pack).encode(examples, tokenizer, max_length)
    expected = _by_hand(examples, tokenizer, max_length, pack)
    assert list(zip(rows.owner.tolist(), _rows(rows), strict=True)) == expected
    assert rows.lengths.max(initial=0) <= max_length
    assert [rows.languages[number] for number in rows.language] == [examples[o].language for o in rows.owner]
    around = {*itertools.chain(*tokenizer.template.single, *tokenizer.template.pair)}
    assert rows.maskable.tolist() == [
        identity not in {*around, ord("?"), ord("*")} for identity in rows.ids.tolist()
    ]
    for begin, end in itertools.pairwise(rows.starts.tolist()):
        assert rows.maskable[begin:end].any()


def test_the_same_rows_as_plain_transformers(minilm: Path) -> None:
    """Lone texts and pairs of a real tokenizer, longer ones cut as ``longest_first`` does; mask and size as it says."""
    from transformers import AutoTokenizer

    plain: Any = AutoTokenizer.from_pretrained(str(minilm))
    tokenizer = SubwordTokenizer(plain, segments=True)
    assert (tokenizer.mask, tokenizer.size) == (plain.mask_token_id, len(plain)) == (103, 30522)
    pairs = [
        ("The quick brown fox jumps.", "Der flinke braune Fuchs springt."),
        ("A", "B C D E F G H I J K L M N O"),
    ]
    rows = ALONE.encode([*_texts("Hello [MASK] world"), *(_pair(*pair) for pair in pairs)], tokenizer, 12)
    expected = [plain("Hello [MASK] world")] + [
        plain(*pair, truncation="longest_first", max_length=12) for pair in pairs
    ]
    for (begin, end), wanted in zip(itertools.pairwise(rows.starts.tolist()), expected, strict=True):
        assert rows.ids[begin:end].tolist() == wanted["input_ids"]
        assert rows.segments[begin:end].tolist() == wanted["token_type_ids"]
    assert rows.maskable[:5].tolist() == [False, True, False, True, False]


def test_a_tokenizer_without_mask_or_room() -> None:
    with pytest.raises(ModelError, match="has no mask token, so the model cannot learn by masked language"):
        PACKED.encode(_texts("a"), replace(ROBERTA, mask=None), 8)
    with pytest.raises(UsageError, match="leaves no room for text beside 2 special tokens; give at least 3"):
        PACKED.encode(_texts("a"), ROBERTA, 2)
    with pytest.raises(UsageError, match="beside 4 special tokens; give at least 5"):
        PACKED.encode([_pair("a", "b")], ROBERTA, 4)


def test_what_the_format_says_of_itself() -> None:
    assert (PACKED.head, PACKED.head.size, PACKED.views) == (Head(kind="vocabulary"), 0, ())
    assert PACKED.settings == {"pack": True, "share": 0.15, "alpha": 0.3}
    assert PACKED.texts(_pair("a", "b")) == ("a", "b")
    assert PACKED.texts(_texts("a")[0]) == ("a",)
    examples = _texts("ab")
    rows = PACKED.encode(examples, ROBERTA, 8)
    assert PACKED.targets(examples, rows).tolist() == [IGNORED] * 4
    with pytest.raises(
        SpecError, match="learned from and never scored; leave tasks of the format 'texts' out"
    ):
        PACKED.reader(examples, rows)


def test_settings_are_changed_by_text() -> None:
    changed = PACKED.replaced({"pack": "false", "share": "0.3", "alpha": "1"})
    assert changed == Texts(pack=False, share=0.3, alpha=1.0)
    assert PACKED.replaced({}) == PACKED


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("pack", "yes", "pack=yes: must be true or false"),
        ("share", "0", "share=0: must be a number above 0 and at most 1"),
        ("share", "a lot", "share=a lot: must be a number above 0"),
        ("share", "nan", "share=nan: must be a number above 0"),
        ("alpha", "-1", "alpha=-1: must be a number from 0 to 1"),
        ("alpha", "nan", "alpha=nan: must be a number from 0 to 1"),
        ("stride", "1", "no setting 'stride' here; there are pack, share, alpha"),
    ],
)
def test_settings_that_cannot_be(name: str, value: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        PACKED.replaced({name: value})


def test_a_spec_with_settings_that_cannot_be() -> None:
    with pytest.raises(SpecError, match="share is 2, not a number above 0 and at most 1"):
        Texts(share=2)
    with pytest.raises(SpecError, match="alpha is -1, not a number from 0 to 1"):
        Texts(alpha=-1)
