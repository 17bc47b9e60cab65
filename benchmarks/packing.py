"""Times forward passes with and without padding: real tokens per second of an encoder of XLM-R-base's sizes.

    OMP_NUM_THREADS=1 python benchmarks/packing.py [--kinds xnli,questions] [--dtype float32,bfloat16] [--rows 384]
                                                   [--layers 12] [--repeats 3] [--clock cpu]

Random weights and ids; lengths are drawn, for ``xnli`` log-normal with mean 42, for ``questions`` half of them 384 and the
others from 100 on. Ways: ``plain`` (batches of 32 in the given order, padded to their longest row, as most loops do),
``sorted`` (the same, by length), ``padded`` (the harness for a model that cannot be packed: equal padded lengths) and
``packed`` (the harness). Ways alternate; a ratio is the median over the rounds. In float32 all ways must agree.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import XLMRobertaConfig, XLMRobertaModel

from harness.engine import batching, packed, proving
from harness.engine.embed import BATCH_TOKENS
from harness.engine.packed import Packer
from harness.engine.pooling import filled

ROWS_A_BATCH = 32
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and rows for it: ids of all, and where each begins."""

    model: Any
    packer: Packer
    ids: NDArray[np.int32]
    starts: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.starts)


def main() -> None:
    """Run the rounds and print a table for each kind of row and dtype."""
    options = _options()
    print(f"{torch.get_num_threads()} threads, {options.repeats} rounds, {options.clock} seconds")
    for kind in options.kinds.split(","):
        plain = 0.0
        for dtype in options.dtype.split(","):
            case = _case(kind, options.rows, options.layers, getattr(torch, dtype))
            seconds, found = _measured(case, options.repeats, CLOCKS[options.clock])
            if dtype == "float32":
                plain = statistics.median(seconds["plain"])
                for way, vectors in found.items():
                    np.testing.assert_allclose(vectors, found["plain"], atol=1e-4, err_msg=way)
            _print(kind, dtype, case, seconds, plain)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", default="xnli,questions")
    parser.add_argument("--dtype", default="float32,bfloat16")
    parser.add_argument("--rows", type=int, default=384, help="a tenth as many for questions")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="cpu")
    return parser.parse_args()


def _case(kind: str, rows: int, layers: int, dtype: torch.dtype) -> Case:
    torch.manual_seed(0)
    # Looking words up costs nothing that depends on how many there are.
    config = XLMRobertaConfig(
        vocab_size=5_000,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        num_hidden_layers=layers,
    )
    model: Any = XLMRobertaModel(config, add_pooling_layer=False)
    model = model.eval().to(dtype)
    packer = proving.packer(model, lambda ids, _: [model(input_ids=ids).last_hidden_state])
    if packer is None:
        raise SystemExit("packed passes were not found equal to separate ones")
    random = np.random.default_rng(0)
    if kind == "xnli":
        lengths = np.clip(random.lognormal(np.log(42) - 0.125, 0.5, rows), 6, 128).astype(np.int64)
    else:
        count = max(1, rows // 10)
        lengths = np.where(random.random(count) < 0.5, 384, random.integers(100, 384, count))
    ids = random.integers(4, 5_000, int(lengths.sum()), dtype=np.int32)
    return Case(model=model, packer=packer, ids=ids, starts=np.concatenate([[0], np.cumsum(lengths)]))


def _measured(
    case: Case, repeats: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, NDArray[np.float32]]]:
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    found = {}
    for _ in range(repeats):
        for way, run in WAYS.items():
            start = clock()
            with torch.inference_mode():
                parts = list(run(case))
            seconds[way].append(clock() - start)
            rows = np.concatenate([chosen for chosen, _ in parts])
            found[way] = np.concatenate([vectors for _, vectors in parts])[np.argsort(rows)]
    return seconds, found


def _print(kind: str, dtype: str, case: Case, seconds: Mapping[str, list[float]], plain: float) -> None:
    print(
        f"\n{kind} {dtype}, {len(case.lengths)} rows, mean {case.lengths.mean():.0f} tokens; rows that round alike: "
        f"{', '.join(map(str, case.packer.sizes))}\n{'way':<8} {'tokens/s':>9} {'plain / way':>12} {'plain float32 / way':>20}"
    )
    for way, taken in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(seconds["plain"], taken, strict=True))
        against = f"{plain / statistics.median(taken):.2f}" if plain else "-"
        print(
            f"{way:<8} {len(case.ids) / statistics.median(taken):9.0f} {ratio:12.2f} {against:>20}",
            flush=True,
        )


# Each way gives numbers of rows and the states of their first tokens.

Parts = Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]


def _usual(case: Case, *, by_length: bool) -> Parts:
    order = np.argsort(-case.lengths, kind="stable") if by_length else np.arange(len(case.lengths))
    for start in range(0, len(order), ROWS_A_BATCH):
        rows = order[start : start + ROWS_A_BATCH]
        yield rows, _run(case, rows, int(case.lengths[rows].max()), masked=True)


def _padded(case: Case) -> Parts:
    for batch in batching.plan(case.lengths, BATCH_TOKENS["cpu"]):
        vectors = _run(case, filled(batch, CPU), batch.length, masked=batch.padded)
        yield batch.rows, vectors[: len(batch.rows)]


def _run(case: Case, rows: NDArray[np.int64], length: int, *, masked: bool) -> NDArray[np.float32]:
    places = case.starts[rows][:, None] + np.arange(length)
    inside = places < case.starts[rows + 1][:, None]
    ids = np.where(inside, case.ids[np.minimum(places, len(case.ids) - 1)], 1).astype(np.int64)
    mask = torch.from_numpy(inside.astype(np.int64)) if masked else None
    states = case.model(input_ids=torch.from_numpy(ids), attention_mask=mask).last_hidden_state
    vectors: NDArray[np.float32] = states[:, 0].float().numpy()
    return vectors


def _packed(case: Case) -> Parts:
    for batch in packed.batches_of(case.packer, case.lengths, BATCH_TOKENS["cpu"], CPU):
        row = case.packer.row(case.ids, case.starts, batch.rows, CPU)
        with case.packer.running(row):
            states = case.model(input_ids=row.ids).last_hidden_state[0]
        yield batch.rows, torch.cat([part[:, 0] for part in row.layout.parts(states)]).float().numpy()


WAYS: Mapping[str, Callable[[Case], Parts]] = {
    "plain": partial(_usual, by_length=False),
    "sorted": partial(_usual, by_length=True),
    "padded": _padded,
    "packed": _packed,
}

if __name__ == "__main__":
    main()
