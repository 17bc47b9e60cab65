"""Metrics of tags and classes against a slow state machine, scikit-learn, and numbers that seqeval 0.0.12 gave."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import random
from collections.abc import Sequence

import numpy as np
import pytest
from harness_metrics.accuracy import MACRO_F1
from harness_metrics.tagging import TAGGING, chunks, entities, token_classes, tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from harness import DataError, Metric
from harness.statistics import score

F1, PRECISION, RECALL, ENTITY_F1, TOKEN_ACCURACY, TOKEN_MACRO_F1 = TAGGING
Tags = list[list[str]]
Chunk = tuple[str, int, int]

BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
PARTS_OF_SPEECH = ("NOUN", "VERB", "SCONJ", "CCONJ", "INTJ", "PUNCT", "_", ".")
ODD = ("E-X", "S-X", "I-X", "B-X", "O", "X", "E-Y", "X-O", "O-X", "A-B-X", "-", "B", "S")


def _sentences(text: str) -> Tags:
    return [sentence.split() for sentence in text.split(" | ")]


def _pairs(alphabet: Sequence[str]) -> st.SearchStrategy[tuple[Tags, Tags]]:
    """Sentences with gold and predicted tags; half of the predictions are right."""
    tag = st.sampled_from(alphabet)
    token = st.tuples(tag, tag, st.booleans()).map(lambda one: (one[0], one[0] if one[2] else one[1]))
    return st.lists(st.lists(token, max_size=7), min_size=1, max_size=5).map(
        lambda sentences: (
            [[gold for gold, _ in sentence] for sentence in sentences],
            [[said for _, said in sentence] for sentence in sentences],
        )
    )


def _seqeval(sentences: Tags) -> set[Chunk]:
    """The chunks that seqeval 0.0.12 reads, token by token: (type, first token, last token) over all sentences."""
    line = [tag for sentence in sentences for tag in (*sentence, "O")] + ["O"]
    found: set[Chunk] = set()
    before, kind, begin = "O", "", 0
    for place, tag in enumerate(line):
        letter, type_ = tag[0], tag.split("-")[-1]
        ends = before in ("E", "S")
        ends |= before in ("B", "I") and letter in ("B", "S", "O")
        ends |= before not in ("O", ".") and kind != type_
        if ends:
            found.add((kind, begin, place - 1))
        starts = letter in ("B", "S")
        starts |= before in ("E", "S", "O") and letter in ("E", "I")
        starts |= letter not in ("O", ".") and kind != type_
        if starts:
            begin = place
        before, kind = letter, type_
    return found


def _strict(sentences: Tags) -> set[tuple[int, Chunk]]:
    """Strict IOB2 entities, sentence by sentence."""
    found: set[tuple[int, Chunk]] = set()
    for number, sentence in enumerate(sentences):
        for begin, tag in enumerate(sentence):
            if tag.startswith("B-"):
                end = begin
                while end + 1 < len(sentence) and sentence[end + 1] == f"I-{tag[2:]}":
                    end += 1
                found.add((number, (tag[2:], begin, end)))
    return found


def _sums(parts: object) -> tuple[float, float, float]:
    assert isinstance(parts, dict)
    return tuple(float(parts[name].sum()) for name in ("hits", "predicted", "gold"))  # type: ignore[return-value]


# Right, predicted and gold chunks, as the real seqeval 0.0.12 counted them.
FROZEN = [
    ("N N V P", "N V V P", (1, 3, 3)),
    ("NOUN NOUN VERB", "NOUN NOUN VERB", (2, 2, 2)),
    ("SCONJ SCONJ", "SCONJ CCONJ", (1, 2, 2)),
    ("CCONJ CCONJ", "CCONJ CCONJ", (1, 1, 1)),
    ("CCONJ NOUN", "SCONJ NOUN", (1, 2, 2)),
    ("_ NOUN _", "_ NOUN VERB", (2, 3, 3)),
    ("NOUN | NOUN", "NOUN | NOUN", (2, 2, 2)),
    ("NOUN NOUN | NOUN", "NOUN VERB | NOUN", (1, 3, 2)),
    ("B-PER I-PER O", "I-PER I-PER O", (1, 1, 1)),
    ("B-PER I-PER I-LOC", "B-PER I-PER O", (1, 1, 2)),
    ("B-PER B-PER", "B-PER I-PER", (0, 1, 2)),
    ("O O", "O O", (0, 0, 0)),
    ("O O", "B-LOC O", (0, 1, 0)),
    (". NOUN .", ". NOUN NOUN", (0, 1, 1)),
    ("O I-LOC | I-LOC", "O B-LOC | B-LOC", (2, 2, 2)),
    ("E-X E-X I-X", "E-X I-X I-X", (1, 2, 3)),
]


@pytest.mark.parametrize(("gold", "said", "counts"), FROZEN)
def test_chunks_are_those_that_seqeval_counted(gold: str, said: str, counts: tuple[int, int, int]) -> None:
    assert _sums(chunks(_sentences(gold), _sentences(said))) == counts


@pytest.mark.parametrize("alphabet", [BIO, PARTS_OF_SPEECH, ODD], ids=["bio", "parts of speech", "odd"])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_chunks_are_those_of_the_state_machine(alphabet: Sequence[str], data: st.DataObject) -> None:
    gold, said = data.draw(_pairs(alphabet))
    true, found = _seqeval(gold), _seqeval(said)
    assert _sums(chunks(gold, said)) == (len(true & found), len(found), len(true))


@settings(deadline=None, max_examples=60)
@given(_pairs(PARTS_OF_SPEECH))
def test_f1_precision_and_recall_follow_from_the_chunks(case: tuple[Tags, Tags]) -> None:
    true, found = _seqeval(case[0]), _seqeval(case[1])
    hits = len(true & found)
    precision, recall = (hits / len(one) if one else 0.0 for one in (found, true))
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    values = [score(metric, *case).value for metric in (F1, PRECISION, RECALL)]
    assert values == pytest.approx([100 * f1, 100 * precision, 100 * recall])


@settings(deadline=None, max_examples=100)
@given(_pairs(BIO))
def test_parts_are_those_of_each_sentence_alone(case: tuple[Tags, Tags]) -> None:
    for measure in (chunks, entities, tokens):
        whole = measure(*case)
        for number, (gold, said) in enumerate(zip(*case, strict=True)):
            alone = measure([gold], [said])
            assert {name: part[number] for name, part in whole.items()} == {
                name: part[0] for name, part in alone.items()
            }


def test_a_coordinating_conjunction_is_no_subordinating_one() -> None:
    """In seqeval 1.2.2 both are of the type CONJ and this scores 100."""
    assert score(F1, [["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]]).value == 50.0


@settings(deadline=None, max_examples=150)
@given(_pairs(BIO))
def test_entities_are_strict(case: tuple[Tags, Tags]) -> None:
    true, found = _strict(case[0]), _strict(case[1])
    assert _sums(entities(*case)) == (len(true & found), len(found), len(true))


def test_strict_entities_and_chunks_differ_where_an_inside_tag_continues_nothing() -> None:
    gold, said = [["B-PER", "I-PER", "O", "B-LOC"]], [["I-PER", "I-PER", "O", "B-LOC"]]
    assert score(F1, gold, said).value == 100.0
    assert score(ENTITY_F1, gold, said).value == pytest.approx(100 * 2 / 3)


@settings(deadline=None, max_examples=80)
@given(_pairs(PARTS_OF_SPEECH))
def test_token_scores_are_those_of_scikit_learn(case: tuple[Tags, Tags]) -> None:
    gold, said = ([tag for sentence in sentences for tag in sentence] for sentences in case)
    expected = [accuracy_score(gold, said), _macro(gold, said)] if gold else [0.0, 0.0]
    if gold:
        found = [score(metric, *case).value for metric in (TOKEN_ACCURACY, TOKEN_MACRO_F1)]
        assert found == pytest.approx([100 * value for value in expected])
    else:
        assert score(TOKEN_ACCURACY, *case).value == 0.0


def _macro(gold: Sequence[str], said: Sequence[str]) -> float:
    return float(f1_score(gold, said, average="macro", zero_division=0))  # pyright: ignore[reportArgumentType]


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")), min_size=1, max_size=30))
def test_macro_f1_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, said = [one for one, _ in pairs], [two for _, two in pairs]
    found = score(MACRO_F1, gold, said)
    assert found.value == pytest.approx(100 * _macro(gold, said))
    assert {part.shape for part in found.parts.values()} == {(len(pairs),)}


def test_macro_f1_counts_a_class_that_is_only_predicted() -> None:
    parts = MACRO_F1.parts(["a", "a"], ["a", "b"])
    assert sorted(parts) == ["gold.a", "gold.b", "hits.a", "hits.b", "predicted.a", "predicted.b"]
    assert score(MACRO_F1, ["a", "a"], ["a", "b"]).value == pytest.approx(100 * (2 / 3 + 0) / 2)


@pytest.mark.parametrize("measure", [chunks, entities, tokens, token_classes])
def test_a_sentence_with_another_number_of_tags_is_named(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(DataError, match="sentence 2 of 2: 1 tags predicted where gold has 2"):
        measure([["O"], ["O", "O"]], [["O"], ["O"]])


def test_entities_want_iob2_tags() -> None:
    with pytest.raises(DataError, match="'NOUN' is not O, B-TYPE or I-TYPE"):
        entities([["NOUN"]], [["O"]])


@pytest.mark.parametrize("metric", [*TAGGING, MACRO_F1], ids=lambda metric: metric.name)
def test_scores_of_many_sentences_have_a_standard_error(metric: Metric) -> None:
    draw = random.Random(3)
    gold = [[draw.choice(BIO) for _ in range(6)] for _ in range(300)]
    said = [[tag if draw.random() < 0.7 else draw.choice(BIO) for tag in tags] for tags in gold]
    found = score(
        metric, *(([tags[0] for tags in side] if metric is MACRO_F1 else side) for side in (gold, said))
    )
    assert 0 < found.value < 100
    assert 0 < found.stderr < 5
    assert np.isfinite(found.value)


@pytest.mark.full
def test_chunks_are_those_of_seqeval_itself() -> None:
    if importlib.util.find_spec("seqeval") is None or importlib.metadata.version("seqeval") != "0.0.12":
        pytest.skip("seqeval 0.0.12 is not installed (pip install --no-deps seqeval==0.0.12)")
    from seqeval.metrics import sequence_labeling  # type: ignore[import-not-found]

    draw = random.Random(0)
    for number in range(3000):
        alphabet = (BIO, PARTS_OF_SPEECH, ODD)[number % 3]
        gold = [[draw.choice(alphabet) for _ in range(draw.randint(1, 8))] for _ in range(draw.randint(1, 5))]
        said = [[tag if draw.random() < 0.6 else draw.choice(alphabet) for tag in tags] for tags in gold]
        values = [score(metric, gold, said).value for metric in (F1, PRECISION, RECALL)]
        theirs = [
            getattr(sequence_labeling, f"{name}_score")(gold, said) for name in ("f1", "precision", "recall")
        ]
        assert values == pytest.approx([100 * value for value in theirs])
