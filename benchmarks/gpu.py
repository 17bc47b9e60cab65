"""Measures a card with XLM-R-Large's sizes and random weights, and holds its results against the CPU's.

    python benchmarks/gpu.py [--device cuda] [--dtype bfloat16] [--repeats 3]
    python benchmarks/gpu.py --device cpu --tiny            # the same code on a CPU, with a toy model, in seconds

Rows: tokens per second of padding-free passes at lengths of classification, tagging and questions, against passes padded as
without packing, each with its share of the card's own matrix rate in that dtype (measured first); a training step; search
by matrix product and top-k. Then all of XTREME's test sets projected from these rates, and checks: packed against single
sequences on the CPU in float32, vectors in the asked dtype, neighbours. A check that fails ends the program with 1. Where
there is no card, one line says so.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import XLMRobertaConfig, XLMRobertaModel

from harness import search
from harness.engine import batching, packed, proving
from harness.engine.embed import BATCH_TOKENS
from harness.engine.fetching import Fetched, one_late
from harness.engine.knn import torch_knn
from harness.engine.load import DTYPES
from harness.engine.packed import Packer
from harness.engine.train import MICRO_TOKENS

LARGE: Mapping[str, int] = {
    "vocab_size": 250_002,
    "hidden_size": 1_024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4_096,
}
TINY: Mapping[str, int] = {
    "vocab_size": 500,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
# What a row of these kinds has in tokens: the shape and scale of a gamma distribution, and the longest.
LENGTHS: Mapping[str, tuple[float, float, int]] = {
    "classification": (6.0, 7.0, 128),
    "tagging": (4.0, 7.0, 128),
    "questions": (20.0, 18.0, 384),
}


@dataclass(frozen=True, kw_only=True)
class Set:
    """A test set of XTREME: rows of all languages, tokens of a row, whose rate holds, share of the layers that is run.

    Rows are the official counts; tokens of a row are means of real slices, rounded up; BUCC's sentences are an estimate.
    """

    name: str
    rows: int
    tokens: int
    kind: str
    layers: float = 1.0


XTREME = (
    Set(name="xnli", rows=75_150, tokens=45, kind="classification"),
    Set(name="pawsx", rows=14_000, tokens=65, kind="classification"),
    Set(name="udpos", rows=105_000, tokens=45, kind="tagging"),
    Set(name="panx", rows=262_300, tokens=22, kind="tagging"),
    # Questions times 2.3 windows each, as XQuAD has them.
    Set(name="xquad", rows=30_100, tokens=330, kind="questions"),
    Set(name="mlqa", rows=97_200, tokens=330, kind="questions"),
    Set(name="tydiqa", rows=11_700, tokens=330, kind="questions"),
    Set(name="bucc2018", rows=2_700_000, tokens=32, kind="tagging", layers=14 / 24),
    Set(name="tatoeba", rows=66_000, tokens=14, kind="tagging", layers=14 / 24),
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A model on a device, with what packs for it.

    Attributes:
        scale: Rows of a measurement.
        rate: The device's matrix rate in this dtype, floating-point operations a second.
    """

    model: Any
    packer: Packer
    device: torch.device
    dtype: torch.dtype
    repeats: int
    scale: int
    rate: float

    @property
    def budget(self) -> int:
        """Tokens of a batch."""
        return BATCH_TOKENS[self.device.type]


def main() -> int:
    """Measure, project, check; 1 where a check fails."""
    options = _options()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured (--device cpu --tiny runs the same code on the CPU)")
        return 0
    device, dtype = torch.device(options.device), DTYPES[options.dtype]
    model = _model(TINY if options.tiny else LARGE).to(device, dtype)
    packer = proving.packer(model, lambda ids, _: [model(input_ids=ids).last_hidden_state])
    if packer is None:
        print(f"{options.dtype} on {device}: packed passes were not found equal to separate ones")
        return 1
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rate = _matrix_rate(device, dtype, 256 if options.tiny else 8_192)
    bench = Bench(
        model=model,
        packer=packer,
        device=device,
        dtype=dtype,
        repeats=options.repeats,
        scale=64 if options.tiny else 20_000,
        rate=rate,
    )
    print(f"{name}, {options.dtype}, matrix rate {rate / 1e12:.2f} TFLOP/s, {options.repeats} rounds")
    rates = _inference(bench)
    _training(bench)
    _search(bench)
    _projection(rates)
    return _checks(bench)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="a toy model, few rows")
    return parser.parse_args()


def _model(sizes: Mapping[str, int]) -> nn.Module:
    torch.manual_seed(0)
    more: dict[str, Any] = {**sizes, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
    model: nn.Module = XLMRobertaModel(XLMRobertaConfig(**more), add_pooling_layer=False)
    model.train(mode=False)
    return model


def _seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median seconds, after one run that is not counted."""
    taken = []
    for _ in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _matrix_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2.0 * size**3 / _seconds(lambda: one @ other, device, 5)


def _operations(config: Any, lengths: NDArray[np.int64]) -> float:
    """Of a forward pass over sequences of these lengths: linear layers and attention, embeddings not counted."""
    size, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    a_token = 2.0 * (4 * size * size + 2 * size * inner)
    return float(layers * (a_token * lengths.sum() + 4.0 * size * (lengths**2).sum()))


# Inference.


def _inference(bench: Bench) -> dict[str, float]:
    """Tokens a second by kind of row, packed."""
    print(f"\n{'inference':<16} {'way':<8} {'rows':>7} {'tokens':>9} {'tokens/s':>10} {'of the rate':>12}")
    rates = {}
    for kind in LENGTHS:
        ids, starts = _rows(bench, kind, bench.scale)
        lengths = np.diff(starts)
        for way in (_padded, _packed):
            seconds = _seconds(partial(way, bench, ids, starts), bench.device, bench.repeats)
            share = _operations(bench.model.config, lengths) / seconds / bench.rate
            rates[kind] = len(ids) / seconds
            print(
                f"{kind:<16} {way.__name__[1:]:<8} {len(lengths):7d} {len(ids):9d} {rates[kind]:10.0f} {share:12.1%}",
                flush=True,
            )
    return rates


def _rows(bench: Bench, kind: str, count: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    shape, scale, longest = LENGTHS[kind]
    random = np.random.default_rng(0)
    lengths = np.clip(random.gamma(shape, scale, count).astype(np.int64), 5, longest)
    ids = random.integers(4, bench.model.config.vocab_size, int(lengths.sum()), dtype=np.int32)
    return ids, np.concatenate([[0], np.cumsum(lengths)])


def _packed(bench: Bench, ids: NDArray[np.int32], starts: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """First tokens' states, batch by batch."""

    def made() -> Any:
        for batch in packed.batches_of(bench.packer, np.diff(starts), bench.budget, bench.device):
            row = bench.packer.row(ids, starts, batch.rows, bench.device)
            with torch.inference_mode(), bench.packer.running(row):
                states = bench.model(input_ids=row.ids).last_hidden_state[0]
                firsts = torch.cat([part[:, 0] for part in row.layout.parts(states)])
                yield batch.rows, Fetched(firsts.float())

    found: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * (len(starts) - 1)
    for rows, fetched in one_late(made()):
        for row, vector in zip(rows.tolist(), fetched.array(), strict=True):
            found[row] = vector
    return found


def _padded(bench: Bench, ids: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
    """The same in batches of equal padded lengths, as a model without a packer is run."""
    exact = 64 if bench.device.type == "cpu" else 0
    for batch in batching.plan(np.diff(starts), bench.budget, exact=exact):
        rows, mask = _table(ids, starts, batch.rows, batch.length)
        with torch.inference_mode():
            states = bench.model(
                input_ids=rows.to(bench.device, non_blocking=True),
                attention_mask=mask.to(bench.device, non_blocking=True) if batch.padded else None,
            ).last_hidden_state
            states[:, 0].float().cpu()


def _table(
    ids: NDArray[np.int32], starts: NDArray[np.int64], rows: Sequence[int] | NDArray[np.int64], length: int
) -> tuple[Tensor, Tensor]:
    chosen = np.asarray(rows)
    places = starts[chosen][:, None] + np.arange(length)
    inside = places < starts[chosen + 1][:, None]
    table = np.where(inside, ids[np.minimum(places, len(ids) - 1)], 1).astype(np.int64)
    return torch.from_numpy(table), torch.from_numpy(inside.astype(np.int64))


# Training, search, projection.


def _training(bench: Bench) -> None:
    """Forward, backward and a step of fused AdamW over one micro-batch in mixed precision, as the trainer does it."""
    learner = _model({name: getattr(bench.model.config, name) for name in LARGE}).to(bench.device).train()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-5, fused=True)
    ids, starts = _rows(bench, "classification", 4 * bench.scale)
    lengths = np.diff(starts)
    rows = np.argsort(lengths, kind="stable")[len(lengths) // 2 :][: MICRO_TOKENS[bench.device.type] // 48]
    length = int(-(-lengths[rows].max() // 8) * 8)
    table, mask = (part.to(bench.device) for part in _table(ids, starts, rows, length))
    mixed = torch.autocast(bench.device.type, dtype=bench.dtype, enabled=bench.dtype == torch.bfloat16)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with mixed:
            states: Tensor = learner(input_ids=table, attention_mask=mask).last_hidden_state
            loss = states[:, 0].float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    seconds = _seconds(step, bench.device, bench.repeats)
    tokens = int(lengths[rows].sum())
    share = 3 * _operations(bench.model.config, lengths[rows]) / seconds / bench.rate
    print(
        f"\ntraining step: {len(rows)} rows, {tokens} tokens, {tokens / seconds:.0f} tokens/s, {share:.1%} of the rate"
    )


def _vectors(count: int, size: int, seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def _search(bench: Bench) -> None:
    """Four nearest neighbours in float32, by the blocks that the harness searches by on a card."""
    count, size = (2_000, 32) if bench.scale < 1_000 else (150_000, 768)
    one, other = _vectors(count, size, 1), _vectors(count, size, 2)
    seconds = _seconds(
        lambda: torch_knn(one, other, 4, device=str(bench.device)), bench.device, bench.repeats
    )
    print(
        f"search, k = 4: {count} x {count} x {size} in {seconds:.3f} s, {2.0 * count * count * size / seconds / 1e12:.2f} TFLOP/s"
    )


def _projection(rates: Mapping[str, float]) -> None:
    print(f"\n{'XTREME, projected':<18} {'rows':>9} {'tokens':>11} {'seconds':>9}")
    total = 0.0
    for entry in XTREME:
        tokens = entry.rows * entry.tokens
        seconds = tokens * entry.layers / rates[entry.kind]
        total += seconds
        print(f"{entry.name:<18} {entry.rows:9d} {tokens:11d} {seconds:9.1f}")
    print(f"{'all test sets':<18} {'':>9} {'':>11} {total:9.1f}   (goal: 300 on one H200)")


# Checks against the CPU.


def _checks(bench: Bench) -> int:
    """The number of the exit code: 0 where the device's results are the CPU's up to its dtype's rounding."""
    ids, starts = _rows(bench, "classification", 24)
    reference = bench.model.to("cpu", torch.float32)
    expected = []
    for begin, end in itertools.pairwise(starts.tolist()):
        with torch.inference_mode():
            states = reference(input_ids=torch.from_numpy(ids[None, begin:end].astype(np.int64)))
        expected.append(states.last_hidden_state[0, 0].numpy())
    failed = 0
    for dtype in dict.fromkeys((torch.float32, bench.dtype)):
        bench.model.to(bench.device, dtype)
        found = np.stack(_packed(bench, ids, starts))
        apart = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        failed += _told(
            f"packed, {str(dtype)[6:]}, from single float32 on the CPU",
            apart,
            2e-5 if dtype == torch.float32 else 5e-2,
        )
    one, other = _vectors(500, 64, 1), _vectors(700, 64, 2)
    theirs, ours = search.faiss_knn(one, other, 4), torch_knn(one, other, 4, device=str(bench.device))
    failed += _told("scores of neighbours from FAISS's", float(np.abs(theirs[0] - ours[0]).max()), 1e-5)
    failed += _told("share of other neighbours than FAISS's", float(np.mean(theirs[1] != ours[1])), 1e-3)
    return int(failed > 0)


def _told(name: str, found: float, limit: float) -> bool:
    wrong = not found <= limit
    print(f"check: {name}: {found:.2e}, allowed {limit:.0e}{' FAILED' if wrong else ''}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
