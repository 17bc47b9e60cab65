"""Opens encoders: any model that AutoModel opens, in the asked dtype, with every weight accounted for.

Knows transformers and its exceptions to the rule; knows nothing about sentences, tasks or runs.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.checkpoints import Checkpoint
from harness.engine import proving
from harness.engine.adapting import RowReader, encoder_of, prepare, row_reader
from harness.engine.hardware import TROUBLES, multiplies_bfloat16
from harness.engine.opening import (
    all_there,
    check_vocabulary,
    config_of,
    plain_model,
    quiet,
    set_language,
    tokenizer_of,
)
from harness.engine.packed import Packer
from harness.errors import ModelError, UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder ready to run.

    Attributes:
        checkpoint: What was opened.
        model: The encoder alone (an encoder-decoder's encoder), in evaluation mode.
        tokenizer: A transformers tokenizer.
        dense: Dense layers after pooling, of a sentence-transformers folder.
        blocks: The list of blocks whose inputs are the hidden states, or None where it could not be found.
        device: Where the model is.
        dtype: Of its weights.
        depth: Number of blocks.
        hidden_size: Of a hidden state.
        row_reader: Tells the model with which of its parts to read each row, None for a model without parts for languages.
        packer: Makes rows without padding and runs them, None for a model that must be padded.
    """

    checkpoint: Checkpoint
    model: nn.Module
    tokenizer: Any
    dense: nn.Module
    blocks: Sequence[nn.Module] | None
    device: torch.device
    dtype: torch.dtype
    depth: int
    hidden_size: int
    row_reader: RowReader | None = None
    packer: Packer | None = None

    def dimension(self, layer: int) -> int:
        """Length of a pooled vector of a layer."""
        last = [module for module in self.dense.modules() if isinstance(module, nn.Linear)]
        return last[-1].out_features if last and layer == self.depth else self.hidden_size


def resolve_device(device: str) -> str:
    """``auto`` to a device's name.

    Raises:
        UsageError: No such device, or CUDA is asked for and not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UsageError(f"--device {device}: give auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= count:
        raise UsageError(f"--device {device}: torch sees {count} CUDA devices here; use --device cpu")
    return device


def resolve_dtype(dtype: str, device: str) -> str:
    """``auto`` to a dtype's name: float32 on CPUs, bfloat16 on CUDA devices that compute with it."""
    if dtype == "auto":
        return "bfloat16" if device.startswith("cuda") and multiplies_bfloat16(device) else "float32"
    return dtype


def not_finite(dtype: torch.dtype) -> str:
    """What to say of numbers that a model should not give, and what may help."""
    name = str(dtype).removeprefix("torch.")
    if dtype is torch.float32:
        return f"NaN or infinite in {name}; check the weights"
    return f"NaN or infinite in {name}; try --dtype float32, and check the weights if that does not help"


def be_deterministic() -> None:
    """Have torch use only algorithms that give the same result each time; on CUDA some are slower."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)


def load_encoder(checkpoint: Checkpoint, *, device: str, dtype: str) -> Encoder:
    """Open an encoder.

    Raises:
        ModelError: The folder cannot be opened, or weights other than heads are missing.
    """
    with quiet(checkpoint):
        tokenizer = tokenizer_of(checkpoint)
        model = _open_model(checkpoint, DTYPES[dtype])
        check_vocabulary(checkpoint, tokenizer, model)
        model = model.to(device).eval()
        prepare(checkpoint, model)
        depth = checkpoint.depth
        hidden = _probe(checkpoint, model, depth)
        return Encoder(
            checkpoint=checkpoint,
            model=model,
            tokenizer=tokenizer,
            dense=_dense(checkpoint.dense).to(device, torch.float32).eval(),
            blocks=_blocks(model, depth, hidden),
            device=torch.device(device),
            dtype=DTYPES[dtype],
            depth=depth,
            hidden_size=int(hidden[-1].shape[-1]),
            row_reader=row_reader(checkpoint, model),
            packer=proving.packer(model, partial(_all_states, model)),
        )


def _open_model(checkpoint: Checkpoint, dtype: torch.dtype) -> nn.Module:
    config = config_of(checkpoint)
    model, info = plain_model(checkpoint, config, dtype)
    all_there(checkpoint, [key for key in info["missing_keys"] if "pooler." not in key], info, "encoder")
    model = encoder_of(checkpoint, model)
    set_language(model, config)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model  # type: ignore[no-any-return]


def _dense(folders: Sequence[Path]) -> nn.Module:
    """The dense layers of a sentence-transformers folder, in order; the identity without any."""
    import json

    from safetensors.torch import load_file

    layers: list[nn.Module] = []
    for folder in folders:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
        safe = folder / "model.safetensors"
        state = (
            load_file(safe)
            if safe.is_file()
            else torch.load(folder / "pytorch_model.bin", weights_only=True, map_location="cpu")
        )
        linear.load_state_dict({key.removeprefix("linear."): value for key, value in state.items()})
        activation = str(config.get("activation_function", "torch.nn.modules.linear.Identity")).rsplit(
            ".", 1
        )[-1]
        if activation not in ("Tanh", "Identity", "GELU", "ReLU"):
            raise ModelError(f"{folder}: activation {activation} is not supported")
        layers += [linear, getattr(nn, activation)()]
    return nn.Sequential(*layers)


def _probe(checkpoint: Checkpoint, model: nn.Module, depth: int) -> tuple[Tensor, ...]:
    """All hidden states of a short made-up input; shows that the model runs and how deep it is."""
    with torch.inference_mode():
        try:
            output = model(**_probe_input(model), output_hidden_states=True)
        except TROUBLES:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            told = " ".join(str(error).split())
            raise ModelError(f"{checkpoint.folder}: does not run as an encoder ({told[:300]})") from error
    hidden: tuple[Tensor, ...] = tuple(output.hidden_states)
    if len(hidden) != depth + 1:
        raise ModelError(
            f"{checkpoint.folder}: gives {len(hidden)} hidden states where config.json promises {depth + 1}"
        )
    return (*hidden[:-1], output.last_hidden_state)


def _all_states(model: nn.Module, ids: Tensor, _segments: Tensor | None) -> list[Tensor]:
    output: Any = model(input_ids=ids, output_hidden_states=True)
    return [*output.hidden_states[:-1], output.last_hidden_state]


def _probe_input(model: nn.Module) -> dict[str, Tensor]:
    config: Any = model.config
    padding = config.pad_token_id if isinstance(config.pad_token_id, int) else 0
    ids = [token for token in range(3, 20) if token != padding][:8]
    return {"input_ids": torch.tensor([ids, ids[::-1]], device=next(model.parameters()).device)}


def _blocks(model: nn.Module, depth: int, hidden: tuple[Tensor, ...]) -> Sequence[nn.Module] | None:
    """The list of blocks whose inputs are exactly the hidden states, so that a run can stop at the last one needed."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            found = capture(model, list(module), range(depth), _probe_input(model))
            if all(layer in found and torch.equal(found[layer], hidden[layer]) for layer in range(depth)):
                return list(module)
    return None


class _Enough(Exception):
    """Not an error: ends a forward pass that has given all that is needed."""


def capture(
    model: nn.Module, blocks: Sequence[nn.Module], layers: Sequence[int], inputs: dict[str, Any]
) -> dict[int, Tensor]:
    """Inputs of the given blocks (hidden state ``i`` is the input of block ``i``); stops before the last of them."""
    found: dict[int, Tensor] = {}
    last = max(layers)

    def look(layer: int) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found[layer] = args[0] if args else kwargs["hidden_states"]
            if layer == last:
                raise _Enough

        return hook

    handles = [blocks[layer].register_forward_pre_hook(look(layer), with_kwargs=True) for layer in layers]
    try:
        with torch.inference_mode(), contextlib.suppress(_Enough, KeyError):
            model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def hidden_states(encoder: Encoder, layers: Sequence[int], inputs: dict[str, Any]) -> dict[int, Tensor]:
    """The asked hidden states, each of shape ``(rows, length, hidden size)``, in one pass that goes no deeper than needed.

    Layer ``depth`` is the model's last hidden state.
    """
    wanted = sorted(set(layers))
    if encoder.blocks is not None and wanted[-1] < encoder.depth:
        return capture(encoder.model, encoder.blocks, wanted, inputs)
    with torch.inference_mode():
        if wanted == [encoder.depth]:
            return {encoder.depth: encoder.model(**inputs).last_hidden_state}
        output: Any = encoder.model(**inputs, output_hidden_states=True)
    found = {layer: output.hidden_states[layer] for layer in wanted if layer < encoder.depth}
    return {**found, **({encoder.depth: output.last_hidden_state} if encoder.depth in wanted else {})}
