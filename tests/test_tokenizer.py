"""Sub-words as formats want them, against what tokenizers of every kind do themselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from harness import ModelError
from harness.engine.tokenizer import SubwordTokenizer
from harness.formats.rows import Pieces

CORPUS = [
    "the dog sleeps in the garden, and the cat sleeps in the house",
    "Der Hund schläft heute im Garten; die Katze schläft im Haus.",
    "الكلب ينام في الحديقة",
    "狗今天在花园里睡觉",
    "1 2 3 45 678 words",
]
WORDS = ["the", "dog", "sleeps", "Hund", "schläft", "Garten", "ينام", "花园", "unheard", "zzyx", "12", "a"]
# How Llama 3, and with it EuroBERT, divides text before byte pairs are merged; a space never leans on a number.
LLAMA = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+"


def wordpiece() -> Tokenizer:
    """As BERT's: [CLS] a [SEP] b [SEP], the second text of type 1."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def byte_level(*, prefix: bool = False, pattern: str | None = None, size: int = 400) -> Tokenizer:
    """Pairs of bytes: as RoBERTa's, or with Llama 3's division (then only <s> before each text)."""
    made = Tokenizer(models.BPE(unk_token=None))
    whole = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=pattern is None)
    split = [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
    made.pre_tokenizer = pre_tokenizers.Sequence([*split, whole])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS * 3,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=["<s>", "<pad>", "</s>"],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A" if pattern else "<s> $A </s>",
        pair="<s> $A <s> $B" if pattern else "<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return made


def unigram(single: str, pair: str, scheme: str = "always") -> Tokenizer:
    """As SentencePiece's, with any template."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("</s>", 1)]
    )
    return made


PAIRED = ["input_ids", "token_type_ids", "attention_mask"]
KINDS: dict[str, tuple[Any, dict[str, Any], tuple[Any, Any]]] = {
    "bert": (
        wordpiece,
        {"unk_token": "[UNK]", "pad_token": "[PAD]", "model_input_names": PAIRED},
        (((2,), (3,)), ((2,), (3,), (3,))),
    ),
    "roberta": (byte_level, {"pad_token": "<pad>"}, (((0,), (2,)), ((0,), (2, 2), (2,)))),
    "roberta with a space before the first word": (
        lambda: byte_level(prefix=True),
        {"pad_token": "<pad>"},
        (((0,), (2,)), ((0,), (2, 2), (2,))),
    ),
    "few merges": (
        lambda: byte_level(size=262),
        {"pad_token": "<pad>"},
        (((0,), (2,)), ((0,), (2, 2), (2,))),
    ),
    "llama": (lambda: byte_level(pattern=LLAMA), {}, (((0,), ()), ((0,), (0,), ()))),
    "t5": (
        lambda: unigram("$A </s>", "$A </s> $B </s>"),
        {"unk_token": "<unk>", "pad_token": "<pad>"},
        (((), (1,)), ((), (1,), (1,))),
    ),
    "none": (lambda: unigram("$A", "$A $B", "first"), {"unk_token": "<unk>"}, (((), ()), ((), (), ()))),
}


@pytest.fixture(scope="module", params=[*KINDS, "xlm-roberta"])
def kind(request: pytest.FixtureRequest, sample_model: Path) -> tuple[Any, Any]:
    """A transformers tokenizer and its template."""
    if request.param == "xlm-roberta":
        return AutoTokenizer.from_pretrained(str(sample_model)), (((0,), (2,)), ((0,), (2, 2), (2,)))
    make, special, template = KINDS[request.param]
    wrapper: Any = PreTrainedTokenizerFast
    return wrapper(tokenizer_object=make(), **special), template


def of_text(pieces: Pieces, number: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and offsets of one text."""
    part = slice(pieces.starts[number], pieces.starts[number + 1])
    offsets = zip(pieces.begin[part].tolist(), pieces.end[part].tolist(), strict=True)
    return pieces.ids[part].tolist(), list(offsets)


def test_special_tokens_are_found_without_knowing_the_family(kind: tuple[Any, Any]) -> None:
    tokenizer, (single, pair) = kind
    template = SubwordTokenizer(tokenizer, segments=False).template
    assert (template.single, template.pair) == (single, pair)
    assert (template.single_size, template.pair_size) == (sum(map(len, single)), sum(map(len, pair)))


TEXT = st.text(st.sampled_from("the dog Hund schläft 花园 ينام 12,;.'\n"), max_size=30)


@settings(max_examples=12, deadline=None)
@given(texts=st.lists(TEXT, max_size=8))
def test_pieces_and_offsets_are_the_tokenizers_own(kind: tuple[Any, Any], texts: list[str]) -> None:
    """And each stretch of ids with the template around it is what the tokenizer gives for one text and for two."""
    tokenizer, _ = kind
    cutter = SubwordTokenizer(tokenizer, segments=False)
    texts = [*texts, *texts[:2]]
    pieces = cutter.pieces(texts)
    assert [part.dtype.name for part in (pieces.ids, pieces.begin, pieces.starts)] == [
        "int32",
        "int32",
        "int64",
    ]
    assert pieces.starts.shape == (len(texts) + 1,)
    before, behind = cutter.template.single
    for number, text in enumerate(texts):
        plain = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = of_text(pieces, number)
        assert ids == plain["input_ids"]
        assert offsets == [tuple(pair) for pair in plain["offset_mapping"]]
        assert [*before, *ids, *behind] == tokenizer(text)["input_ids"]
    # transformers takes an empty second text for none.
    if texts and texts[-1]:
        first, middle, last = cutter.template.pair
        (one, _), (other, _) = of_text(pieces, 0), of_text(pieces, len(texts) - 1)
        assert [*first, *one, *middle, *other, *last] == tokenizer(texts[0], texts[-1])["input_ids"]


@settings(max_examples=12, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), max_size=8))
def test_words_are_cut_as_inside_a_sentence(kind: tuple[Any, Any], words: list[str]) -> None:
    """Behind a first word, so that each of them has a space before it."""
    tokenizer, _ = kind
    sentence = tokenizer(" ".join(["the", *words]), add_special_tokens=False)["input_ids"]
    start = tokenizer("the", add_special_tokens=False)["input_ids"]
    assert sentence[: len(start)] == start
    cutter = SubwordTokenizer(tokenizer, segments=False)
    for _ in range(2):
        pieces = cutter.pieces(words, words=True)
        assert pieces.ids.tolist() == sentence[len(start) :]
        assert pieces.starts.shape == (len(words) + 1,)
        assert not pieces.begin.any()
        assert not pieces.end.any()


def test_a_word_is_the_same_in_every_call(kind: tuple[Any, Any]) -> None:
    cutter = SubwordTokenizer(kind[0], segments=False)
    first = cutter.pieces(["dog", "Garten"], words=True)
    again = cutter.pieces(["the", "Garten", "dog", "dog"], words=True)
    by_word = [of_text(first, 0)[0], of_text(first, 1)[0]]
    assert [of_text(again, number)[0] for number in (1, 2, 3)] == [by_word[1], by_word[0], by_word[0]]


@pytest.mark.parametrize("words", [False, True])
def test_each_distinct_text_is_cut_once(
    sample_model: Path, monkeypatch: pytest.MonkeyPatch, words: bool
) -> None:
    """A distinct word even once in the tokenizer's life."""
    cutter = SubwordTokenizer(AutoTokenizer.from_pretrained(str(sample_model)), segments=False)
    cutter.pieces(["one"], words=words)
    seen: list[str] = []
    real: Any = cutter._backend

    class Counting:
        def __getattr__(self, name: str) -> Any:
            def counted(texts: list[str], **options: Any) -> Any:
                seen.extend(texts)
                return getattr(real, name)(texts, **options)

            return counted if name.startswith("encode_batch") else getattr(real, name)

    monkeypatch.setattr(cutter, "_backend", Counting())
    cutter.pieces(["a", "b", "a", "a"], words=words)
    assert seen == ["a", "b"]
    cutter.pieces(["b", "c"], words=words)
    assert seen == (["a", "b", "c"] if words else ["a", "b", "b", "c"])


def test_many_texts_are_cut_as_few_are(sample_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks leave no seam."""
    from harness.engine import tokenizer as module

    whole = AutoTokenizer.from_pretrained(str(sample_model))
    texts = [" ".join(WORDS[: number % 7]) for number in range(25)]
    expected = [SubwordTokenizer(whole, segments=False).pieces(texts, words=words) for words in (False, True)]
    monkeypatch.setattr(module, "_CHUNK", 3)
    found = [SubwordTokenizer(whole, segments=False).pieces(texts, words=words) for words in (False, True)]
    for one, other in zip(found, expected, strict=True):
        for name in ("ids", "begin", "end", "starts"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_tokenizers_own_truncation_and_padding_play_no_part(sample_model: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(str(sample_model))
    expected = SubwordTokenizer(tokenizer, segments=False).pieces(["the dog sleeps", "a"]).ids.tolist()
    tokenizer(["the dog"], truncation=True, max_length=3, padding="max_length")
    cutter = SubwordTokenizer(tokenizer, segments=False)
    assert cutter.pieces(["the dog sleeps", "a"]).ids.tolist() == expected
    tokenizer(["the dog"], truncation=True, max_length=3, padding="max_length")
    assert cutter.template.single == ((0,), (2,))


def test_ids_of_padding_and_of_what_is_unknown() -> None:
    found = {}
    for name in ("bert", "none", "llama"):
        make, special, _ = KINDS[name]
        wrapper: Any = PreTrainedTokenizerFast
        cutter = SubwordTokenizer(wrapper(tokenizer_object=make(), **special), segments=False)
        found[name] = (cutter.unknown, cutter.padding)
    assert found == {"bert": (1, 0), "none": (2, 0), "llama": (None, 0)}


def test_texts_are_told_apart_where_tokenizer_and_model_both_do() -> None:
    """A model that has an embedding for each of two texts was not trained with it by a tokenizer that gives one."""
    found = {}
    for name in ("bert", "roberta"):
        make, special, _ = KINDS[name]
        wrapper: Any = PreTrainedTokenizerFast
        tokenizer = wrapper(tokenizer_object=make(), **special)
        found[name] = [
            SubwordTokenizer(tokenizer, segments=segments).template.segments for segments in (False, True)
        ]
    assert found == {"bert": [False, True], "roberta": [False, False]}


def test_a_slow_tokenizer_is_refused_with_advice() -> None:
    with pytest.raises(ModelError, match=r"SimpleNamespace has no fast version \(tokenizer.json\); save one"):
        SubwordTokenizer(SimpleNamespace(), segments=False)


def test_a_tokenizer_that_changes_the_text_among_special_tokens_is_refused() -> None:
    """The harness could not put its rows together."""

    class Odd:
        def no_truncation(self) -> None: ...

        def no_padding(self) -> None: ...

        def encode(self, *texts: str, add_special_tokens: bool) -> Any:
            return SimpleNamespace(ids=[7] if not add_special_tokens else [0, 9, 2])

    cutter = SubwordTokenizer(SimpleNamespace(backend_tokenizer=Odd()), segments=False)
    with pytest.raises(ModelError, match="changes a text when it adds special tokens"):
        _ = cutter.template
