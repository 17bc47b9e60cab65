"""Paired tests against enumeration, slow loops, hand-computed values and simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from harness_metrics.accuracy import ACCURACY
from harness_metrics.mining import MINING
from harness_metrics.retrieval import WEIGHTED_F1, XSIM_ERROR
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness import Json, Metric, Parts, PluginError
from harness.paired import Comparison, binomial_tail, bootstrap, compare, holm, mcnemar, smallest_drop
from harness.statistics import standard_error

Floats = NDArray[np.float64]
F1 = MINING[0]
HITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def metric_of(combine: Callable[[Mapping[str, float]], float], *, higher_is_better: bool = True) -> Metric:
    """A metric that is only combined, never computed."""

    def parts(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
        raise AssertionError("nothing is scored here")

    return Metric(
        name="made_up",
        signature="made_up|v1",
        parts=parts,
        combine=combine,
        doc="Paper: none. Official scorer: none.",
        higher_is_better=higher_is_better,
    )


def floats(*values: float) -> Floats:
    """An array of numbers."""
    return np.array(values, dtype=np.float64)


def sides(pairs: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
    """Baseline and run from pairs."""
    return floats(*(pair[0] for pair in pairs)), floats(*(pair[1] for pair in pairs))


def mined(n: int, seed: int, hit_rate: float = 0.8) -> dict[str, Floats]:
    """Counts per item, as mining and tagging have them; the gold counts are the same for every seed."""
    generator = np.random.default_rng(seed)
    gold = np.random.default_rng(0).integers(0, 4, n).astype(np.float64)
    hits = generator.binomial(gold.astype(np.int64), hit_rate).astype(np.float64)
    return {"hits": hits, "predicted": hits + generator.integers(0, 3, n), "gold": gold}


# The exact test


@pytest.mark.parametrize("trials", [0, 1, 2, 3, 10, 57, 300])
def test_the_tail_of_a_fair_coin_is_that_of_exact_fractions(trials: int) -> None:
    for successes in range(trials + 1):
        exact = Fraction(sum(math.comb(trials, k) for k in range(successes, trials + 1)), 2**trials)
        assert binomial_tail(successes, trials) == pytest.approx(float(exact), rel=1e-11)


@pytest.mark.parametrize("successes", [10_000, 10_050, 10_400, 9_900, 20_000])
def test_the_tail_stays_exact_for_many_throws(successes: int) -> None:
    trials = 20_000
    terms, term = [], math.comb(trials, successes)
    for k in range(successes, trials + 1):
        terms.append(term)
        term = term * (trials - k) // (k + 1)
    exact = float(Fraction(sum(terms), 2**trials))
    assert binomial_tail(successes, trials) == pytest.approx(exact, rel=1e-8, abs=1e-300)


@settings(deadline=None, max_examples=60)
@given(pairs=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=11))
def test_mcnemar_is_the_share_of_all_swaps_that_drop_as_far(pairs: list[tuple[bool, bool]]) -> None:
    before, after = sides(pairs)
    observed = np.sum(before - after)
    drops = [
        np.sum(np.where(swaps, after - before, before - after))
        for swaps in itertools.product([False, True], repeat=len(pairs))
    ]
    assert mcnemar(before, after).p == pytest.approx(float(np.mean(np.array(drops) >= observed)))


def test_mcnemar_of_a_case_by_hand() -> None:
    # 20 items: 9 got worse, 2 better, 5 right in both, 4 wrong in both. P(X >= 9 of 11) = (55 + 11 + 1) / 2048.
    before, after = sides([(1, 0)] * 9 + [(0, 1)] * 2 + [(1, 1)] * 5 + [(0, 0)] * 4)
    found = mcnemar(before, after)
    assert (found.test, found.n) == ("mcnemar", 20)
    assert (found.baseline, found.value, found.drop) == pytest.approx((70.0, 35.0, 35.0))
    assert found.p == pytest.approx(67 / 2048)
    # Bonett & Price: p12 = 10/22, p21 = 3/22, se = sqrt((13/22 - (7/22)**2) / 22).
    stderr = 100 * math.sqrt((13 / 22 - (7 / 22) ** 2) / 22)
    assert found.stderr == pytest.approx(stderr)
    assert (found.low, found.high) == pytest.approx(
        (700 / 22 - 1.959964 * stderr, 700 / 22 + 1.959964 * stderr)
    )


@settings(deadline=None, max_examples=100)
@given(pairs=HITS)
def test_errors_are_right_answers_turned_round(pairs: list[tuple[bool, bool]]) -> None:
    before, after = sides(pairs)
    right, wrong = mcnemar(before, after), mcnemar(1 - before, 1 - after, higher_is_better=False)
    for name in ("drop", "low", "high", "p", "stderr"):
        assert getattr(wrong, name) == pytest.approx(getattr(right, name))
    assert wrong.value == pytest.approx(100 - right.value)


@settings(deadline=None, max_examples=100)
@given(pairs=HITS)
def test_the_interval_holds_the_drop_and_turns_round_with_the_runs(pairs: list[tuple[bool, bool]]) -> None:
    before, after = sides(pairs)
    found, back = mcnemar(before, after), mcnemar(after, before)
    assert -100 <= found.low <= found.drop <= found.high <= 100
    assert found.low < found.high
    assert (back.drop, back.low, back.high) == pytest.approx((-found.drop, -found.high, -found.low))
    assert 0 < found.p <= 1
    assert found.p + back.p >= 1 - 1e-12


def test_equal_runs_are_no_reason_for_doubt_and_have_an_interval() -> None:
    hits = floats(1, 0, 1, 1)
    found = mcnemar(hits, hits)
    assert (found.drop, found.p) == (0.0, 1.0)
    assert found.low < 0 < found.high


# The bootstrap


def every_resample(metric: Metric, baseline: Parts, run: Parts) -> Floats:
    """The drop of each of the n ** n equally likely samples, slowly."""
    (n,) = next(iter(baseline.values())).shape
    drops = []
    for chosen in itertools.product(range(n), repeat=n):
        before, after = (
            metric.combine({name: float(np.mean(part[list(chosen)])) for name, part in side.items()})
            for side in (baseline, run)
        )
        drops.append(100 * (before - after) * (1 if metric.higher_is_better else -1))
    return np.array(drops)


MEAN = metric_of(lambda means: means["f1"])
ERROR = metric_of(lambda means: means["f1"], higher_is_better=False)
RATIO = metric_of(lambda means: means["hits"] / (1 + means["predicted"] + means["gold"]))
LETTERS = {"f1": floats(0.9, 0.5, 1.0, 0.25, 0.8)}
WORSE = {"f1": floats(0.4, 0.5, 0.7, 0.3, 0.1)}


@pytest.mark.parametrize(
    ("metric", "baseline", "run"),
    [
        (MEAN, LETTERS, WORSE),
        (MEAN, WORSE, LETTERS),
        (ERROR, LETTERS, WORSE),
        (F1, mined(5, 1), mined(5, 2, 0.3)),
        (RATIO, mined(5, 3), mined(5, 4, 0.3)),
    ],
    ids=["mean", "better", "error", "f1", "ratio"],
)
def test_the_bootstrap_agrees_with_all_possible_samples(metric: Metric, baseline: Parts, run: Parts) -> None:
    exact = every_resample(metric, baseline, run)
    found = bootstrap(metric, baseline, run, seed=7, draws=40_000)
    assert found.p == pytest.approx(float(np.mean(exact - found.drop >= found.drop - 1e-9)), abs=0.01)
    assert found.stderr == pytest.approx(float(np.std(exact)), rel=0.02)
    # Where the distribution has atoms a quantile may fall on the next one, so shares are compared, not values.
    for end, share in ((2 * found.drop - found.high, 0.025), (2 * found.drop - found.low, 0.975)):
        assert np.mean(exact < end - 1e-9) <= share + 0.005
        assert np.mean(exact <= end + 1e-9) >= share - 0.005


def test_the_spread_is_that_of_the_delta_method() -> None:
    before, after = mined(600, 1), mined(600, 2)
    found = bootstrap(F1, before, after, seed=1)
    both = {f"a.{name}": part for name, part in before.items()} | {f"b.{k}": v for k, v in after.items()}

    def difference(means: Mapping[str, float]) -> float:
        one, other = ({k[2:]: v for k, v in means.items() if k.startswith(side)} for side in ("a.", "b."))
        return F1.combine(one) - F1.combine(other)

    assert found.stderr == pytest.approx(100 * standard_error(metric_of(difference), both), rel=0.03)


def test_arrays_at_once_give_what_single_numbers_give() -> None:
    before, after = mined(200, 1), mined(200, 2)
    calls = []

    def one_by_one(means: Mapping[str, float]) -> float:
        calls.append(float(means["hits"]))  # fails on an array
        return RATIO.combine(means)

    at_once = bootstrap(RATIO, before, after, seed=3, draws=500)
    slowly = bootstrap(metric_of(one_by_one), before, after, seed=3, draws=500)
    assert len(calls) > 1000
    for name in ("baseline", "value", "drop", "low", "high", "stderr", "p"):
        assert getattr(at_once, name) == pytest.approx(getattr(slowly, name), abs=1e-9)


@pytest.mark.parametrize(
    "combine",
    [
        lambda means: means["hits"] * (1.0 if np.all(means["predicted"] > 1.0) else 0.5),
        lambda means: float(np.max(means["hits"])) + 0 * means["hits"],
        lambda means: np.divide(means["hits"], means["predicted"] - 1.0) if np.ndim(means["hits"]) else 0.25,
        lambda means: max(means["hits"], means["predicted"]),
        lambda means: 0.5,
    ],
    ids=["any", "maximum", "array only", "ambiguous", "constant"],
)
def test_a_combination_that_is_another_for_arrays_is_computed_one_by_one(
    combine: Callable[[Mapping[str, float]], float],
) -> None:
    before, after = mined(60, 1), mined(60, 2)

    def numbers(means: Mapping[str, float]) -> float:
        return float(combine({name: float(mean) for name, mean in means.items()}))

    found = bootstrap(metric_of(combine), before, after, seed=3, draws=400)
    assert found == bootstrap(metric_of(numbers), before, after, seed=3, draws=400)


def test_many_equal_items_are_drawn_as_if_they_were_not() -> None:
    pairs = [(1.0, 0.5), (0.25, 0.25), (0.5, 0.75)] * 200
    before, after = sides(pairs)
    jitter = np.arange(600) * 1e-9  # makes all items distinct, which is drawn another way
    together = bootstrap(MEAN, {"f1": before}, {"f1": after}, seed=5, draws=20_000)
    apart = bootstrap(MEAN, {"f1": before + jitter}, {"f1": after + jitter}, seed=5, draws=20_000)
    exact = 100 * float(np.std(before - after)) / math.sqrt(600)
    for found in (together, apart):
        assert found.stderr == pytest.approx(exact, rel=0.03)
        assert (found.low, found.high) == pytest.approx(
            (found.drop - 1.96 * exact, found.drop + 1.96 * exact), abs=0.1
        )
    assert together.p == pytest.approx(apart.p, abs=0.01)


def test_the_order_of_the_items_does_not_matter_and_the_seed_decides() -> None:
    before, after = mined(150, 1), mined(150, 2)
    order = np.random.default_rng(0).permutation(150)
    turned = [{name: part[order] for name, part in side.items()} for side in (before, after)]
    found = bootstrap(F1, before, after, seed=11, draws=500)
    assert bootstrap(F1, *turned, seed=11, draws=500) == found
    assert bootstrap(F1, before, after, seed=12, draws=500).low != found.low


def test_equal_runs_have_no_drop_and_the_largest_p() -> None:
    same = mined(100, 1)
    found = bootstrap(F1, same, same, seed=1, draws=200)
    assert (found.drop, found.low, found.high, found.stderr, found.p) == (0, 0, 0, 0, 1)


@settings(deadline=None, max_examples=50)
@given(
    pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30),
    seed=st.integers(0, 5),
    higher=st.booleans(),
)
def test_the_interval_of_the_bootstrap_holds_the_drop(
    pairs: list[tuple[float, float]], seed: int, higher: bool
) -> None:
    before, after = sides(pairs)
    metric = MEAN if higher else ERROR
    found = bootstrap(metric, {"f1": before}, {"f1": after}, seed=seed, draws=100)
    assert -100 <= found.low <= found.drop <= found.high <= 100
    assert found.drop == pytest.approx(100 * float(np.mean(before - after)) * (1 if higher else -1), abs=1e-9)
    assert 1 / 101 <= found.p <= 1


def test_a_combination_that_fails_is_blamed_on_its_metric() -> None:
    broken = metric_of(lambda means: 1 / (means["f1"] - means["f1"]))
    with pytest.raises(
        PluginError, match=r"metric 'made_up': combine fails on the means f1 0\.\d+ \(ZeroDivision"
    ):
        bootstrap(broken, LETTERS, LETTERS, seed=1, draws=10)


# The choice between the two


@pytest.mark.parametrize(
    ("metric", "baseline", "run", "test"),
    [
        (ACCURACY, {"correct": floats(1, 0)}, {"correct": floats(0, 0)}, "mcnemar"),
        (XSIM_ERROR, {"wrong": floats(1, 0)}, {"wrong": floats(0, 0)}, "mcnemar"),
        (ACCURACY, {"correct": floats(1, 0.5)}, {"correct": floats(0, 0)}, "bootstrap"),
        (ACCURACY, {"correct": floats(1, 0)}, {"correct": floats(0, 0.5)}, "bootstrap"),
        (WEIGHTED_F1, {"f1": floats(0.3, 0)}, {"f1": floats(0, 1)}, "bootstrap"),
        (F1, mined(4, 1), mined(4, 2), "bootstrap"),
        (metric_of(lambda m: m["x"] ** 2), {"x": floats(1, 0)}, {"x": floats(0, 0)}, "bootstrap"),
    ],
    ids=["accuracy", "error", "baseline's seeds", "run's seeds", "f1", "mined", "square"],
)
def test_the_exact_test_is_for_shares_of_items_only(
    metric: Metric, baseline: Parts, run: Parts, test: str
) -> None:
    assert compare(metric, baseline, run, seed=1, draws=50).test == test


def test_a_falling_error_is_no_drop() -> None:
    found = compare(XSIM_ERROR, {"wrong": floats(1, 1, 1, 0)}, {"wrong": floats(0, 0, 1, 0)}, seed=1)
    assert (found.baseline, found.value, found.drop) == (75.0, 25.0, -50.0)


# Many tests, and what a test can see


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@settings(deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12), alpha=st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_rule_rejects(p: list[float], alpha: float) -> None:
    rejected: set[int] = set()
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        if (len(p) - rank) * p[index] > alpha:
            break
        rejected.add(index)
    adjusted = holm(p)
    assert {index for index, value in enumerate(adjusted) if value <= alpha} == rejected
    assert all(raw <= value <= 1 for raw, value in zip(p, adjusted, strict=True))


def comparison(test: Literal["mcnemar", "bootstrap"], n: int, stderr: float) -> Comparison:
    """A comparison of which only the spread matters."""
    return Comparison(test=test, n=n, baseline=50, value=50, drop=0, low=-1, high=1, stderr=stderr, p=0.5)


def test_the_smallest_drop_by_hand() -> None:
    found = comparison("bootstrap", 400, 2.0)
    assert smallest_drop(found, 0.05) == pytest.approx(2 * (1.6448536 + 0.8416212))
    assert smallest_drop(found, 0.05, power=0.5) == pytest.approx(2 * 1.6448536)
    assert smallest_drop(comparison("mcnemar", 400, 2.0), 0.05, power=0.5) == pytest.approx(
        2 * 1.6448536 + 0.25
    )
    assert smallest_drop(comparison("bootstrap", 400, 0.0), 0.05) is None


# Simulations: rates over many made-up pairs of runs, with 3 standard errors of the rate as slack


def rate(experiment: Callable[[np.random.Generator], bool], times: int) -> float:
    """How often something happens."""
    return float(np.mean([experiment(np.random.default_rng(seed)) for seed in range(times)]))


def slack(share: float, times: int) -> float:
    """Three standard errors of a rate."""
    return 3 * math.sqrt(share * (1 - share) / times)


def noisy_hits(generator: np.random.Generator, n: int, drop: float, changed: float) -> tuple[Floats, Floats]:
    """Right or wrong in two runs; ``changed`` of the items change, and the true drop is ``drop`` (fractions)."""
    draws = generator.random(n)
    worse, better = (changed + drop) / 2, (changed - drop) / 2
    before = np.where(draws < worse, 1.0, np.where(draws < changed, 0.0, (generator.random(n) < 0.7) * 1.0))
    after = np.where(draws < worse, 0.0, np.where(draws < worse + better, 1.0, before))
    return before, after


def answers(generator: np.random.Generator, n: int, changed: float) -> tuple[Parts, Parts]:
    """Question-answering F1 in two runs as good as each other: mostly 0 or 1; a part of the answers is drawn anew."""
    values = np.array([0.0, 0.0, 0.33, 0.5, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0])
    base = generator.choice(values, n)
    new = [np.where(generator.random(n) < changed, generator.choice(values, n), base) for _ in range(2)]
    return {"f1": new[0]}, {"f1": new[1]}


@pytest.mark.full
@pytest.mark.parametrize("changed", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("n", [40, 400])
def test_mcnemar_raises_false_alarms_at_most_at_its_level(n: int, changed: float) -> None:
    found = rate(lambda generator: mcnemar(*noisy_hits(generator, n, 0.0, changed)).p <= 0.05, 2000)
    assert found <= 0.05 + slack(0.05, 2000)


@pytest.mark.full
@pytest.mark.parametrize("changed", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("n", [40, 400])
def test_the_interval_of_mcnemar_covers_the_true_drop(n: int, changed: float) -> None:
    drop = changed / 4

    def covered(generator: np.random.Generator) -> bool:
        found = mcnemar(*noisy_hits(generator, n, drop, changed))
        return found.low <= 100 * drop <= found.high

    assert rate(covered, 2000) >= 0.95 - slack(0.05, 2000) - 0.01


@pytest.mark.full
@pytest.mark.parametrize("changed", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("n", [40, 400])
def test_the_bootstrap_raises_false_alarms_at_most_at_its_level(n: int, changed: float) -> None:
    def alarm(generator: np.random.Generator) -> bool:
        return bootstrap(MEAN, *answers(generator, n, changed), seed=1, draws=1000).p <= 0.05

    assert rate(alarm, 1000) <= 0.05 + slack(0.05, 1000)


@pytest.mark.full
@pytest.mark.parametrize("n", [40, 400])
def test_the_bootstrap_of_a_corpus_score_raises_false_alarms_at_most_at_its_level(n: int) -> None:
    found = rate(
        lambda generator: (
            bootstrap(
                F1,
                mined(n, int(generator.integers(1 << 40))),
                mined(n, int(generator.integers(1 << 40))),
                seed=1,
                draws=500,
            ).p
            <= 0.05
        ),
        1000,
    )
    assert found <= 0.05 + slack(0.05, 1000)


@pytest.mark.full
@pytest.mark.parametrize("n", [200, 1000])
def test_a_drop_of_the_smallest_detectable_size_is_found_four_times_in_five(n: int) -> None:
    changed = 0.2
    drop = 0.0
    for _ in range(10):  # the spread depends on the drop
        stderr = 100 * math.sqrt((changed - (drop / 100) ** 2) / n)
        drop = smallest_drop(comparison("mcnemar", n, stderr), 0.05) or 0.0
    found = rate(lambda generator: mcnemar(*noisy_hits(generator, n, drop / 100, changed)).p <= 0.05, 2000)
    assert found == pytest.approx(0.8, abs=0.05)


@pytest.mark.full
def test_the_bootstrap_finds_a_drop_of_the_smallest_detectable_size_four_times_in_five() -> None:
    before, after = answers(np.random.default_rng(5), 20_000, 0.5)
    stderr = bootstrap(MEAN, before, after, seed=1, draws=1000).stderr * math.sqrt(20_000 / 500)
    drop = (smallest_drop(comparison("bootstrap", 500, stderr), 0.05) or 0.0) / 100

    def finds(generator: np.random.Generator) -> bool:
        before, after = answers(generator, 500, 0.5)
        return bootstrap(MEAN, before, {"f1": after["f1"] - drop}, seed=1, draws=500).p <= 0.05

    assert rate(finds, 1000) == pytest.approx(0.8, abs=0.05)
