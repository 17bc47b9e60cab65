"""Times compiled backends against the harness's own passes: torch.compile, ONNX Runtime and OpenVINO, a random XLM-R-base.

    pip install onnx onnxscript onnxruntime openvino
    python benchmarks/backends.py [--dtype float32,bfloat16] [--rows 96] [--rounds 3]

The question is whether one of them should be a backend of the harness. Each reads the same rows, of XNLI's lengths, sorted and
padded in batches of 32 with a mask, as a compiled graph wants them; so does transformers' model as it is (``sorted batches``).
Compiling and a first pass over all rows are not counted. ONNX Runtime has no bfloat16 on a CPU and is left out there. A
package that is missing makes a row that says so. Not a part of ``make bench``, whose environment has none of these packages.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import encoders
import sidebyside
from encoders import EXACT, HARNESS, SORTED
from sidebyside import Case, Json, Ready, Row, compared, in_turn, missing, tell

COMPILED, ONNX, OPENVINO = "torch.compile", "ONNX Runtime", "OpenVINO"
NEEDED: Mapping[str, tuple[str, ...]] = {
    ONNX: ("onnx", "onnxscript", "onnxruntime"),
    OPENVINO: ("onnx", "onnxscript", "openvino"),
}
# What ONNX files are at most long and wide; any limit will do.
MOST = {"rows": 64, "length": 512}


def main() -> None:
    """Run the rounds and print the rows, or be one way's worker."""
    options = sidebyside.parser(__doc__, rounds=3)
    options.add_argument("--dtype", default="float32,bfloat16")
    options.add_argument("--rows", type=int, default=96)
    options.add_argument("--layers", type=int, default=12)
    chosen = options.parse_args()
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The harness against each other way, for each dtype."""
    for dtype in options.dtype.split(","):
        what = f"XLM-R-base, xnli lengths, {dtype}"
        ways = [HARNESS, SORTED, COMPILED]
        for way, packages in NEEDED.items():
            gone = [name for name in packages if importlib.util.find_spec(name) is None]
            if gone:
                yield missing(what, HARNESS, way, f"pip install {' '.join(gone)}")
            elif dtype == EXACT or way == OPENVINO:
                ways.append(way)
        case = {"count": options.rows, "dtype": dtype, "layers": options.layers}
        turns = in_turn(__file__, {way: {**case, "way": way} for way in ways}, options.rounds)
        for way in ways[1:]:
            note = f"scores differ by {encoders.distance(turns, way):.0e} at most"
            yield compared(what, turns, HARNESS, way, kind="speed", note=note)


def prepare(case: Case) -> Ready:
    """The model as a way wants it, after one pass over all rows; what is no way of :data:`WAYS` is the harness."""
    import numpy as np
    import torch

    random = np.random.default_rng(0)
    lengths = encoders.lengths_of(random, "xnli", case["count"])
    ids = [random.integers(10, 30_000, length).astype(np.int32) for length in lengths]
    headed = encoders.random_headed(case["layers"], getattr(torch, case["dtype"]))
    order, padding = encoders.by_length(ids), headed.module.model.config.pad_token_id
    run = WAYS[case["way"]](headed.module.model, case["dtype"]) if case["way"] in WAYS else None

    def work() -> Json:
        if run is None:
            return {"scores": encoders.harness_scores(headed, ids).ravel().tolist()}
        return {"scores": encoders.in_batches(ids, order, padding, run).ravel().tolist()}

    work()
    return lambda: work


def _eager(model: Any, dtype: str) -> Callable[[Any, Any], Any]:
    return encoders.eager(model)


def _compiled(model: Any, dtype: str) -> Callable[[Any, Any], Any]:
    import torch

    return encoders.eager(torch.compile(model, dynamic=True))


def _exported(model: Any, folder: str) -> Path:
    """The model as an ONNX file for batches of any size; written in float32, which backends bring into their own dtype."""
    import torch

    path = Path(folder) / "model.onnx"
    # With something masked: a mask of ones is left out of the graph.
    example, mask = torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8), dtype=torch.int64).tril(6)
    dynamic = {
        place: torch.export.Dim(name, min=1 + place, max=most)
        for place, (name, most) in enumerate(MOST.items())
    }
    torch.onnx.export(
        model.float(),
        (example, mask),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=(dynamic, dynamic),
        dynamo=True,
        external_data=True,
    )
    return path


def _onnx_runtime(model: Any, dtype: str) -> Callable[[Any, Any], Any]:
    import torch

    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = str(_exported(model, folder))
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda filled, mask: session.run(None, {"input_ids": filled, "attention_mask": mask})[0]


def _openvino(model: Any, dtype: str) -> Callable[[Any, Any], Any]:
    import torch

    openvino: Any = importlib.import_module("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32" if dtype == EXACT else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
    }
    with tempfile.TemporaryDirectory() as folder:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(_exported(model, folder)), "CPU", settings)
    request, output = compiled.create_infer_request(), compiled.output(0)
    return lambda filled, mask: request.infer({"input_ids": filled, "attention_mask": mask})[output]


WAYS: Mapping[str, Callable[[Any, str], Callable[[Any, Any], Any]]] = {
    SORTED: _eager,
    COMPILED: _compiled,
    ONNX: _onnx_runtime,
    OPENVINO: _openvino,
}


if __name__ == "__main__":
    main()
