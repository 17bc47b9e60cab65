"""Measures a card with models of XLM-R-Large's sizes and random weights, and holds its results against the CPU's.

    python benchmarks/gpu.py [--device cuda] [--dtype bfloat16] [--repeats 3]
    python benchmarks/gpu.py --device cpu --tiny            # the same code on a CPU, with toy models, in seconds

What is measured is what a run uses: the predictor over rows of classification, tagging and questions, packed and padded; the
trainer's steps at the same lengths, 32 rows each; the exact search, both ways. Beside each stand its share of the card's own
matrix rate in that dtype (measured first) and the most memory that torch held. Then all of XTREME's test sets projected
from these rates: passes only, without reading, tokenising, search and scoring. Last the checks: scores of single rows on the
CPU in float32, gradients of a step, neighbours. A check that fails ends the program with 1. Where there is no card, one line
says so.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cardmodels import LARGE, LENGTHS, TINY, Kept, headed, operations, rows_of, targets_of
from numpy.typing import NDArray

from harness import search
from harness.engine.accumulation import Accumulation
from harness.engine.embed import BATCH_TOKENS
from harness.engine.headed import Headed
from harness.engine.knn import full_products, torch_knn
from harness.engine.lessons import Examples
from harness.engine.load import DTYPES
from harness.engine.predict import Asked, Predictor
from harness.engine.ranks import ALONE
from harness.engine.sweep import sweep
from harness.engine.train import MICRO_TOKENS, Hooks, Trainer
from harness.engine.trainstate import Progress
from harness.formats.rows import Rows
from harness.spec import Schedule

ROWS_A_STEP = 32
SEED = 0


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
    """What is measured on.

    Attributes:
        sizes: Of the models.
        scale: Rows of a measurement; ``steps`` of a training that are timed.
        rate: The device's matrix rate in this dtype, floating-point operations a second.
    """

    sizes: Mapping[str, int]
    device: torch.device
    dtype: str
    repeats: int
    scale: int
    steps: int
    rate: float


def main() -> int:
    """Measure, project, check; 1 where a check fails."""
    options = _options()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured (--device cpu --tiny runs the same code on the CPU)")
        return 0
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rate = _matrix_rate(device, DTYPES[options.dtype], 256 if options.tiny else 8_192)
    bench = Bench(
        sizes=TINY if options.tiny else LARGE,
        device=device,
        dtype=options.dtype,
        repeats=options.repeats,
        scale=64 if options.tiny else 20_000,
        steps=4 if options.tiny else 20,
        rate=rate,
    )
    print(
        f"{name}, torch {torch.__version__}, {options.dtype}, matrix rate {rate / 1e12:.2f} TFLOP/s, {options.repeats} rounds"
    )
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
    parser.add_argument("--tiny", action="store_true", help="toy models, few rows")
    return parser.parse_args()


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


def _memory(device: torch.device) -> str:
    """The most that torch held there since the last call, in MiB; nothing of a CPU."""
    if device.type != "cuda":
        return "-"
    held = torch.cuda.max_memory_allocated(device) / 2**20
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return f"{held:.0f}"


def _matrix_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2.0 * size**3 / _seconds(lambda: one @ other, device, 5)


# Inference.


def _inference(bench: Bench) -> dict[str, float]:
    """Tokens a second by kind of row, as the harness runs them."""
    print(
        f"\n{'inference':<16} {'way':<8} {'rows':>7} {'tokens':>9} {'tokens/s':>10} {'of the rate':>12} {'MiB':>7}"
    )
    rates = {}
    for kind in LENGTHS:
        model = headed(kind, bench.sizes, bench.device, bench.dtype)
        rows = rows_of(kind, bench.scale, bench.sizes["vocab_size"])
        ways = {"padded": replace(model, packer=None)}
        if model.packer is None:
            print(f"{kind:<16} packed passes were not found equal to separate ones: it runs padded")
        else:
            ways["packed"] = model
        for way, chosen in ways.items():
            _memory(bench.device)
            seconds = _seconds(partial(_scores, chosen, rows), bench.device, bench.repeats)
            share = operations(bench.sizes, rows.lengths) / seconds / bench.rate
            rates[kind] = len(rows.ids) / seconds
            print(
                f"{kind:<16} {way:<8} {len(rows.lengths):7d} {len(rows.ids):9d} {rates[kind]:10.0f} {share:12.1%} "
                f"{_memory(bench.device):>7}",
                flush=True,
            )
    return rates


def _scores(model: Headed, rows: Rows) -> list[NDArray[np.float32]]:
    """Of each row's first token, or of the row."""
    kept = Kept(len(rows.lengths))
    predictor = Predictor(headed=model, batch_tokens=BATCH_TOKENS[model.device.type])
    predictor.run([Asked(rows=rows, reader=kept)])
    return kept.scores


# Training, search, projection.


def _training(bench: Bench) -> None:
    """Steps of the trainer in mixed precision, the first three of each kind not counted."""
    print(
        f"\n{'training':<16} {'rows':>7} {'tokens':>9} {'seconds':>9} {'tokens/s':>10} {'of the rate':>12} {'MiB':>7}"
    )
    for kind in LENGTHS:
        steps = 3 + bench.steps
        lesson = _lesson(bench, kind, steps * ROWS_A_STEP, bench.device, "float32")
        lengths = lesson.rows.lengths
        at: list[float] = []
        schedule = Schedule(
            epochs=1.0, batch_size=ROWS_A_STEP, learning_rate=1e-5, warmup=0.1, max_steps=steps
        )
        _memory(bench.device)
        with tempfile.TemporaryDirectory() as scratch:
            Trainer(
                lessons=[lesson],
                schedule=schedule,
                seed=SEED,
                dtype=bench.dtype,
                folder=Path(scratch) / "state",
                micro_tokens=MICRO_TOKENS[bench.device.type],
                save_seconds=float("inf"),
                hooks=Hooks(stepped=lambda _step, _loss, at=at: at.append(time.perf_counter())),  # type: ignore[misc]
            ).run()
        seconds = statistics.median(np.diff(at)[2:])
        tokens = len(lesson.rows.ids) / steps
        share = 3 * operations(bench.sizes, lengths) / steps / seconds / bench.rate
        print(
            f"{kind:<16} {ROWS_A_STEP:7d} {tokens:9.0f} {seconds:9.3f} {tokens / seconds:10.0f} {share:12.1%} "
            f"{_memory(bench.device):>7}",
            flush=True,
        )


def _lesson(bench: Bench, kind: str, count: int, device: torch.device, dtype: str) -> Examples:
    rows = rows_of(kind, count, bench.sizes["vocab_size"])
    model = headed(kind, bench.sizes, device, dtype)
    return Examples(
        headed=model, rows=rows, targets=targets_of(kind, rows), batch_size=ROWS_A_STEP, epochs=1.0
    )


def _vectors(count: int, size: int, seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _exact(device: torch.device) -> search.ExactSearch:
    """The search that a run makes on a device."""
    name = str(device)
    raw = partial(torch_knn, device=name) if device.type == "cuda" else search.faiss_knn
    return search.ExactSearch(sweep=partial(sweep, device=name), raw=raw)


def _search(bench: Bench) -> None:
    """Four nearest neighbours both ways, settled in float64, and the float32 search that it falls back on, one way."""
    count, size = (2_000, 32) if bench.scale < 1_000 else (150_000, 768)
    one, other = _vectors(count, size, 1), _vectors(count, size, 2)
    ways: Mapping[str, Callable[[], Any]] = {
        "exact, both ways": lambda: _exact(bench.device).both(one, other, 4),
        "float32, one way": lambda: torch_knn(one, other, 4, device=str(bench.device)),
    }
    print(f"\n{'search, k = 4':<18} {'seconds':>9} {'TFLOP/s of one pass':>20} {'MiB':>7}")
    for way, work in ways.items():
        _memory(bench.device)
        seconds = _seconds(work, bench.device, 1)
        rate = 2.0 * count * count * size / seconds / 1e12
        print(
            f"{way:<18} {seconds:9.3f} {rate:20.2f} {_memory(bench.device):>7}   {count} x {count} x {size}",
            flush=True,
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
    limits = {"float32": 2e-5, bench.dtype: 2e-5 if bench.dtype == "float32" else 5e-2}
    failed = 0
    for kind, dtype in itertools.product(LENGTHS, limits):
        with full_products():
            apart = _scores_apart(bench, kind, dtype)
        failed += _told(f"scores, {kind}, {dtype}", apart, limits[dtype])
    for dtype, limit in limits.items():
        with full_products():
            failed += _told(f"gradients of a step, {dtype}", _gradients_apart(bench, dtype), 3 * limit)
    one, other = _vectors(3_000, 64, 1), _vectors(5_000, 64, 2)
    theirs, ours = (_exact(place).both(one, other, 4) for place in (torch.device("cpu"), bench.device))
    for way, expected, found in zip(("there", "back"), theirs, ours, strict=True):
        failed += _told(
            f"neighbours {way}, share of others", float(np.mean(expected.rows != found.rows)), 0.0
        )
        failed += _told(
            f"neighbours {way}, scores", float(np.abs(expected.scores - found.scores).max()), 1e-12
        )
    return int(failed > 0)


def _scores_apart(bench: Bench, kind: str, dtype: str) -> float:
    """Relative distance between the harness's scores on the device and those of single rows on the CPU in float32."""
    rows = rows_of(kind, 24, bench.sizes["vocab_size"])
    model = headed(kind, bench.sizes, bench.device, dtype)
    found = np.stack(_scores(model, rows))
    reference = model.module.to("cpu", torch.float32)
    expected = []
    for begin, end in itertools.pairwise(rows.starts.tolist()):
        with torch.inference_mode():
            scores = reference(torch.from_numpy(rows.ids[None, begin:end].astype(np.int64)), None, None)
        expected.append((scores[0] if scores.ndim == 2 else scores[0, 0]).numpy())
    return float(np.linalg.norm(found - np.stack(expected)) / np.linalg.norm(expected))


def _gradients_apart(bench: Bench, dtype: str) -> float:
    """Relative distance between a step's gradients on the device and on the CPU in float32."""
    found = []
    for device, precision in ((torch.device("cpu"), "float32"), (bench.device, dtype)):
        lesson = _lesson(bench, "classification", ROWS_A_STEP, torch.device("cpu"), "float32")
        module = lesson.headed.module.to(device)
        lesson = replace(lesson, headed=replace(lesson.headed, device=device))
        scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        work = Accumulation(
            module=module,
            device=device,
            dtype=precision,
            ranks=ALONE,
            progress=Progress(micro_tokens=MICRO_TOKENS[device.type]),
        )
        work.gradient(lesson, lesson.draw(0, SEED), scaler)
        grads = [part.grad.flatten().cpu() for part in module.parameters() if part.grad is not None]
        found.append(torch.cat(grads) / scaler.get_scale())
    expected, own = found
    return float((own - expected).norm() / expected.norm())


def _told(name: str, found: float, limit: float) -> bool:
    wrong = not found <= limit
    print(f"check: {name}: {found:.2e}, allowed {limit:.0e}{' FAILED' if wrong else ''}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
