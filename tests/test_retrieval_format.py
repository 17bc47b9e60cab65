"""The retrieval format: who is asked, what is searched, which threshold counts, and what a subset keeps."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Predictions, UsageError, search
from harness.formats.base import Vectors
from harness.formats.pools import pools_of
from harness.formats.retrieval import Mining, Nearest, Retrieval, Search, Sentence, Side

# English is the first side of a pair below, the other language the second.
BITEXT: tuple[Search, ...] = (
    Nearest(view="en-xx", queries="en"),
    Nearest(view="xx-en", queries="xx"),
    Nearest(view="xx-en-ratio", queries="xx", margin="ratio", k=2),
)


def _sentence(identity: str, *gold: str, text: str = "") -> Sentence:
    side: Side = "en" if identity.startswith("en") else "xx"
    return Sentence(id=identity, side=side, text=text or f"text of {identity}", gold=gold)


def _decoded(
    searches: Sequence[Search],
    rows: Mapping[Sentence, Sequence[float]],
    tuning: Mapping[Sentence, Sequence[float]] | None = None,
) -> dict[str, Predictions]:
    held = None if tuning is None else (list(tuning), _vectors(tuning))
    found = Retrieval(searches=tuple(searches)).decode(list(rows), _vectors(rows), held, search.ExactSearch())
    return {predictions.view: predictions for predictions in found}


def _vectors(rows: Mapping[Sentence, Sequence[float]]) -> Vectors:
    return np.array(list(rows.values()), dtype=np.float32)


def test_nearest_searches_from_the_side_it_is_told() -> None:
    """The nearest of A is B, but the nearest of B is C: the two directions give different answers."""
    rows = {
        _sentence("en-0", "xx-0"): [1.0, 0.0],
        _sentence("en-1", "xx-1"): [0.6, 0.8],
        _sentence("xx-0", "en-0"): [0.8, 0.6],
        _sentence("xx-1", "en-1"): [0.0, 1.0],
    }
    found = _decoded(BITEXT[:2], rows)
    assert list(found) == ["en-xx", "xx-en"]
    assert found["en-xx"].ids == ["en-0", "en-1"]
    assert found["en-xx"].gold == ["xx-0", "xx-1"]
    assert found["en-xx"].values == ["xx-0", "xx-0"]
    assert found["xx-en"].ids == ["xx-0", "xx-1"]
    assert found["xx-en"].gold == ["en-0", "en-1"]
    assert found["xx-en"].values == ["en-1", "en-1"]
    assert all(not predictions.caveats and not predictions.facts for predictions in found.values())


def test_the_sides_may_lie_mixed_among_the_examples() -> None:
    rows = {
        _sentence("xx-0", "en-0"): [1.0, 0.0, 0.0],
        _sentence("en-1", "xx-1"): [0.0, 1.0, 0.0],
        _sentence("xx-2", "en-2"): [0.0, 0.0, 1.0],
        _sentence("en-0", "xx-0"): [1.0, 0.0, 0.0],
        _sentence("xx-1", "en-1"): [0.0, 1.0, 0.0],
        _sentence("en-2", "xx-2"): [0.0, 0.0, 1.0],
    }
    for predictions in _decoded(BITEXT, rows).values():
        assert predictions.values == predictions.gold


def test_a_margin_prefers_what_is_near_to_nothing_else() -> None:
    """``en-0`` is near to everything, so that the ratio passes it over for the translation that is a little farther."""
    rows = {
        _sentence("en-0", "xx-1"): [0.0, 1.0, 0.0],
        _sentence("en-1", "xx-0"): [0.8, 0.0, 0.6],
        _sentence("xx-0", "en-1"): [0.6, 0.78, 0.0],
        _sentence("xx-1", "en-0"): [0.0, 1.0, 0.0],
    }
    found = _decoded(BITEXT, rows)
    assert found["xx-en"].values == ["en-0", "en-0"]
    assert found["xx-en-ratio"].values == ["en-1", "en-0"]


def test_a_margin_view_takes_the_best_of_the_given_number_of_neighbours() -> None:
    rows = {
        _sentence("en-0", "xx-1"): [0.0, 1.0, 0.0],
        _sentence("en-1", "xx-0"): [0.8, 0.0, 0.6],
        _sentence("xx-0", "en-1"): [0.6, 0.78, 0.0],
        _sentence("xx-1", "en-0"): [0.0, 1.0, 0.0],
    }
    found = _decoded([Nearest(view="", queries="xx", margin="ratio", k=1)], rows)
    assert found[""].values == ["en-0", "en-0"]


def test_distractors_are_not_queried_but_can_be_answers() -> None:
    rows = {
        _sentence("en-0"): [1.0, 0.0],
        _sentence("en-1", "xx-1"): [0.6, 0.8],
        _sentence("xx-0"): [0.0, 1.0],
        _sentence("xx-1", "en-1"): [0.9, 0.1],
    }
    found = _decoded(BITEXT, rows)
    assert {view: predictions.ids for view, predictions in found.items()} == {
        "en-xx": ["en-1"],
        "xx-en": ["xx-1"],
        "xx-en-ratio": ["xx-1"],
    }
    assert found["en-xx"].values == ["xx-0"]
    assert found["xx-en"].values == ["en-0"]


def test_centring_takes_away_what_a_language_has_in_common() -> None:
    """The third axis is the language, and all sentences of the other one lie on one side of the first two besides."""
    rows = {
        _sentence("en-0", "xx-0"): [0.3, 0.0, 0.9],
        _sentence("en-1", "xx-1"): [0.0, 0.3, 0.9],
        _sentence("en-2", "xx-2"): [-0.3, -0.3, 0.9],
        _sentence("xx-0", "en-0"): [0.9, 0.5, -0.2],
        _sentence("xx-1", "en-1"): [0.5, 0.9, -0.2],
        _sentence("xx-2", "en-2"): [0.4, 0.4, -0.2],
    }
    plain, centred = (_centred(rows, flag)["xx-en"] for flag in (False, True))
    assert plain.values == ["en-0", "en-1", "en-0"]
    assert centred.values == centred.gold == ["en-0", "en-1", "en-2"]


def _centred(rows: Mapping[Sentence, Sequence[float]], centred: bool) -> dict[str, Predictions]:
    way = Retrieval(searches=BITEXT, centred=centred)
    found = way.decode(list(rows), _vectors(rows), None, search.ExactSearch())
    return {predictions.view: predictions for predictions in found}


@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(-5, 5))
@settings(max_examples=60, deadline=None)
def test_centring_does_not_see_what_is_added_to_a_whole_language(seed: int, count: int, shift: float) -> None:
    """Adding one vector to all of a pool changes nothing, and cosines are those of a plain sum in float64."""
    random = np.random.default_rng(seed)
    sentences = [_sentence(f"{side}-{number}") for side in ("en", "xx") for number in range(count)]
    vectors = random.standard_normal((2 * count, 6)).astype(np.float32)
    moved = vectors.copy()
    moved[count:] += np.float32(shift) * random.standard_normal(6).astype(np.float32)
    places: dict[Side, slice] = {"en": slice(0, count), "xx": slice(count, None)}
    for side, rows in places.items():
        wanted = vectors[rows].astype(np.float64)
        wanted -= wanted.mean(axis=0)
        lengths = np.linalg.norm(wanted, axis=1, keepdims=True)
        for given_vectors in (vectors, moved):
            found = pools_of(sentences, given_vectors, centred=True)[side].vectors
            assert found.dtype == np.float32
            if count > 1:
                np.testing.assert_allclose(found, wanted / lengths, atol=2e-4)
            else:
                assert np.linalg.norm(found) in (0, pytest.approx(1, abs=1e-5))


def test_sentences_that_are_all_alike_are_centred_to_nothing_and_still_answered() -> None:
    rows = {
        _sentence("en-0", "xx-0"): [1.0, 0.0],
        _sentence("en-1", "xx-1"): [1.0, 0.0],
        _sentence("xx-0", "en-0"): [0.0, 1.0],
        _sentence("xx-1", "en-1"): [0.0, 1.0],
    }
    assert _centred(rows, True)["xx-en"].values == ["en-0", "en-0"]


def test_centring_is_a_setting_that_stands_in_the_recipe_only_where_it_is_used() -> None:
    plain = Retrieval(searches=BITEXT)
    centred = plain.replaced({"centred": "true"})
    assert centred == Retrieval(searches=BITEXT, centred=True)
    assert centred.replaced({"centred": "false"}) == plain
    assert dict(centred.settings) == {**plain.settings, "centred": True}
    assert "centred" not in plain.settings
    with pytest.raises(UsageError, match="'yes' is not allowed; there are true, false"):
        plain.replaced({"centred": "yes"})
    with pytest.raises(
        UsageError, match="no setting 'centered' here; there are margin, k, retrieval, centred"
    ):
        plain.replaced({"centered": "true"})


def test_of_several_gold_answers_a_nearest_search_scores_the_first() -> None:
    rows = {
        _sentence("en-0", "xx-0"): [1.0, 0.0],
        _sentence("en-1", "xx-0"): [0.0, 1.0],
        _sentence("xx-0", "en-1", "en-0"): [0.0, 1.0],
    }
    assert _decoded(BITEXT[1:2], rows)["xx-en"].gold == ["en-1"]


# With this way of mining the score of pair i is the scale given to it.
PLAIN = Mining(view="mined", margin="absolute", k=1, retrieval="fwd")


def _scaled(pairs: Mapping[str, tuple[float, str]]) -> dict[Sentence, list[float]]:
    """Sentences of the other language, each with the score of its one candidate ``en-ID`` and its gold answer or ``""``."""
    eye = np.eye(len(pairs)).tolist()
    rows = {}
    for axis, (identity, (score, gold)) in zip(eye, pairs.items(), strict=True):
        rows[_sentence(f"xx-{identity}", *([gold] if gold else []))] = axis
        rows[_sentence(f"en-{identity}")] = [score * value for value in axis]
    return rows


def _accepted(predictions: Predictions) -> list[str]:
    return [
        identity
        for identity, candidates in zip(predictions.ids, predictions.values, strict=True)
        if any(candidate["accepted"] for candidate in candidates)
    ]


def test_the_threshold_of_the_tuning_split_decides_on_the_scored_one() -> None:
    """Test's own best threshold would be 0.3; dev says 0.5."""
    dev = _scaled({"a": (0.875, "en-a"), "b": (0.75, "en-b"), "c": (0.25, "")})
    test = _scaled({"d": (0.75, "en-d"), "e": (0.4375, "en-e"), "f": (0.375, "en-f"), "g": (0.125, "")})
    mined = _decoded([PLAIN], test, dev)["mined"]
    assert mined.facts == {"threshold": 0.5, "tuned_on": "tuning split", "tuning_gold_pairs": 2}
    assert mined.caveats == ()
    assert mined.ids == ["xx-d", "xx-e", "xx-f", "xx-g"]
    assert mined.gold == [["en-d"], ["en-e"], ["en-f"], []]
    assert mined.values[0] == [{"target": "en-d", "score": 0.75, "accepted": True}]
    assert _accepted(mined) == ["xx-d"]


def test_a_candidate_on_the_threshold_is_accepted() -> None:
    dev = _scaled({"a": (0.5, "en-a")})
    test = _scaled({"b": (0.5, "en-b"), "c": (0.4375, "en-c")})
    assert _accepted(_decoded([PLAIN], test, dev)["mined"]) == ["xx-b"]


def test_without_a_tuning_split_one_half_tunes_and_the_other_is_scored() -> None:
    names = [str(number) for number in range(40)]
    halves = {name: hashlib.sha256(f"xx-{name}".encode()).digest()[0] >> 7 for name in names}
    # In the tuning half scores below 0.5 are wrong, in the scored half all are right.
    rows = _scaled(
        {
            name: (
                (number + 1) / 64,
                f"en-{name}" if halves[name] == 1 or number + 1 >= 32 else "",
            )
            for number, name in enumerate(names)
        }
    )
    mined = _decoded([PLAIN], rows)["mined"]
    scored = [name for name in names if halves[name] == 1]
    tuned = [(int(name) + 1) / 64 for name in names if halves[name] == 0]
    right = [score for score in tuned if score >= 0.5]
    assert 0 < len(right) < len(tuned)
    assert mined.ids == [f"xx-{name}" for name in scored]
    assert mined.facts == {
        "threshold": (min(right) + max(set(tuned) - set(right))) / 2,
        "tuned_on": "half:sha256",
        "tuning_gold_pairs": len(right),
    }
    assert mined.caveats == ("threshold tuned on half of this split's gold, scored on the other half",)
    assert _accepted(mined) == [f"xx-{n}" for n in scored if (int(n) + 1) / 64 >= mined.facts["threshold"]]


def test_equal_sentences_are_one_and_keep_every_gold_pair() -> None:
    rows = {
        _sentence("en-0"): [1.0, 0.0, 0.0],
        _sentence("en-1", "xx-0", text="same"): [0.0, 1.0, 0.0],
        _sentence("en-2", "xx-2", text="same"): [0.0, 1.0, 0.0],
        _sentence("en-3", "xx-1"): [0.0, 0.0, 1.0],
        _sentence("xx-0", "en-1", text="gleich"): [0.0, 0.9, 0.1],
        _sentence("xx-1", "en-3", text="gleich"): [0.0, 0.9, 0.1],
        _sentence("xx-2", "en-2"): [0.0, 0.8, 0.0],
        _sentence("xx-3"): [1.0, 0.0, 0.0],
    }
    mined = _decoded([dataclasses.replace(PLAIN, k=4)], rows, rows)["mined"]
    assert mined.ids == ["xx-0", "xx-2", "xx-3"]
    assert mined.gold == [["en-1", "en-3"], ["en-1"], []]
    assert [[candidate["target"] for candidate in value] for value in mined.values] == [
        ["en-1"],
        ["en-1"],
        ["en-0"],
    ]
    assert mined.facts["tuning_gold_pairs"] == 3


def test_equal_texts_of_different_sides_stay_apart() -> None:
    rows = {
        _sentence("en-0", "xx-0", text="OK"): [1.0, 0.0],
        _sentence("xx-0", "en-0", text="OK"): [1.0, 0.0],
    }
    mined = _decoded([PLAIN], rows, rows)["mined"]
    assert (mined.ids, mined.gold, _accepted(mined)) == (["xx-0"], [["en-0"]], ["xx-0"])


def test_mined_backwards_a_sentence_can_have_several_candidates_or_none() -> None:
    rows = {
        _sentence("en-0", "xx-0"): [1.0, 0.0],
        _sentence("en-1", "xx-0"): [0.75, 0.25],
        _sentence("en-2", "xx-1"): [0.5, 0.0],
        _sentence("xx-0", "en-0", "en-1"): [1.0, 0.0],
        _sentence("xx-1", "en-2"): [0.25, 0.25],
    }
    way = dataclasses.replace(PLAIN, retrieval="bwd")
    mined = _decoded([way], rows, rows)["mined"]
    assert mined.ids == ["xx-0", "xx-1"]
    assert mined.gold == [["en-0", "en-1"], ["en-2"]]
    assert mined.values == [
        [
            {"target": "en-0", "score": 1.0, "accepted": True},
            {"target": "en-1", "score": 0.75, "accepted": True},
            {"target": "en-2", "score": 0.5, "accepted": False},
        ],
        [],
    ]


@st.composite
def _bitexts(draw: st.DrawFn) -> list[Sentence]:
    """Pairs, some sentences with two translations, and distractors, in any order."""
    pairs, spare_xx, spare_en = draw(st.integers(1, 12)), draw(st.integers(0, 9)), draw(st.integers(0, 9))
    double = draw(st.sets(st.integers(0, pairs - 1)))
    examples = [_sentence(f"xx-d{number}") for number in range(spare_xx)]
    examples += [_sentence(f"en-d{number}") for number in range(spare_en)]
    for number in range(pairs):
        answers = [f"en-{number}", *([f"en-{number}b"] if number in double else [])]
        examples.append(_sentence(f"xx-{number}", *answers))
        examples += [_sentence(answer, f"xx-{number}") for answer in answers]
    return draw(st.permutations(examples))


def _answered(examples: Sequence[Sentence]) -> set[str]:
    return {example.id for example in examples if example.side == "xx" and example.gold}


BUCC = Retrieval(searches=(Mining(view="mined"),))


@settings(deadline=None, max_examples=100)
@given(examples=_bitexts(), limit=st.integers(1, 14))
def test_a_subset_keeps_so_many_sentences_each_with_all_its_answers(
    examples: list[Sentence], limit: int
) -> None:
    kept = BUCC.subset(examples, limit)
    whole = {example.id: example for example in examples}
    assert kept == [whole[example.id] for example in kept]
    assert [example.id for example in kept] == [e.id for e in examples if e in kept]
    assert len(_answered(kept)) == min(limit, len(_answered(examples)))
    ids = {example.id for example in kept}
    assert all(set(example.gold) <= ids for example in kept)


@settings(deadline=None, max_examples=100)
@given(examples=_bitexts(), limit=st.integers(1, 14), data=st.data())
def test_a_subset_depends_on_ids_only(examples: list[Sentence], limit: int, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(examples))
    assert {e.id for e in BUCC.subset(examples, limit)} == {e.id for e in BUCC.subset(shuffled, limit)}
    assert BUCC.subset(examples, limit) == BUCC.subset(examples, limit)


@settings(deadline=None, max_examples=100)
@given(examples=_bitexts(), small=st.integers(1, 14), more=st.integers(0, 5))
def test_a_smaller_subset_lies_within_a_larger_one(examples: list[Sentence], small: int, more: int) -> None:
    few, many = BUCC.subset(examples, small), BUCC.subset(examples, small + more)
    assert _answered(few) <= _answered(many)
    assert {example.id for example in few} <= {example.id for example in many}


def test_a_subset_has_the_same_share_of_distractors() -> None:
    examples = [_sentence(f"xx-d{number}") for number in range(30)]
    examples += [_sentence(f"en-d{number}") for number in range(50)]
    for number in range(10):
        examples += [_sentence(f"xx-{number}", f"en-{number}"), _sentence(f"en-{number}", f"xx-{number}")]
    kept = BUCC.subset(examples, 4)
    sizes = {
        side: [sum(e.side == side and bool(e.gold) is gold for e in kept) for gold in (True, False)]
        for side in ("xx", "en")
    }
    assert sizes == {"xx": [4, 12], "en": [4, 20]}


def test_a_kept_answer_forgets_translations_that_were_left_out() -> None:
    examples = [_sentence(f"xx-{number}", "en-0") for number in range(3)]
    examples.append(_sentence("en-0", "xx-0", "xx-1", "xx-2"))
    kept = BUCC.subset(examples, 1)
    (other,) = _answered(kept)
    assert [example.gold for example in kept] == [("en-0",), (other,)]


def test_views_are_those_of_the_searches_in_order() -> None:
    assert Retrieval(searches=BITEXT).views == ("en-xx", "xx-en", "xx-en-ratio")


def test_the_model_reads_the_sentence() -> None:
    assert BUCC.texts(_sentence("xx-0", text="Guten Tag")) == ("Guten Tag",)


@pytest.mark.parametrize(
    ("way", "others"),
    [
        (
            Nearest(view="v", queries="en"),
            {"view": "w", "queries": "xx", "margin": "ratio", "k": 5},
        ),
        (
            Mining(view="v"),
            {"view": "w", "margin": "distance", "k": 5, "retrieval": "fwd"},
        ),
    ],
    ids=["nearest", "mining"],
)
def test_settings_change_with_every_field_of_a_search(way: Search, others: Mapping[str, Any]) -> None:
    assert set(others) == {field.name for field in dataclasses.fields(way)}
    before = Retrieval(searches=(way,)).settings
    for name, value in others.items():
        assert Retrieval(searches=(dataclasses.replace(way, **{name: value}),)).settings != before, name


def test_settings_tell_the_kinds_of_search_apart() -> None:
    nearest, mining = Nearest(view="v", queries="xx"), Mining(view="v")
    kinds = [Retrieval(searches=(way,)).settings["v"]["kind"] for way in (nearest, mining)]
    assert kinds == ["Nearest", "Mining"]
