"""The files of a model folder: which there are, whether they are whole, what they say. Imports no torch.

Knows the layout of transformers and sentence-transformers folders; knows no trainings and nothing about running a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import digests
from harness.errors import ModelError
from harness.heads import OWN_HEAD, OWN_HEAD_WEIGHTS

_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
_TOKENIZER_FILES = (
    *_TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "sentence_bert_config.json",
)
_ADAPTER = "adapter_config.json"
# RoBERTa's relatives number positions from the padding token's id + 1, so that many positions are never used.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "xmod", "camembert", "roberta-prelayernorm")
# These look at distances between tokens, so their position table does not limit the length.
_RELATIVE_POSITIONS = ("deberta", "deberta-v2", "t5", "mt5", "umt5", "switch_transformers", "longt5")
_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_lasttoken": "last_token",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
}


def read_json(path: Path) -> Any:
    """Content of a file; raises ModelError where it is not readable."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from error


def configuration_of(folder: Path) -> Mapping[str, Any]:
    """Content of config.json; raises ModelError where it is not one of a transformers model, or that is not all of it."""
    if (folder / _ADAPTER).is_file():
        raise ModelError(
            f"{folder}: {_ADAPTER} lies there, so it holds low-rank adapters, which transformers adds to the weights where peft "
            "is installed and leaves out elsewhere; merge them (merge_and_unload) and save the model into a folder of its "
            "own, or remove the adapter's files if that has been done"
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; is this a transformers model folder?")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{folder}/config.json: no model_type")
    return config


def modules_of(root: Path) -> list[dict[str, Any]]:
    """The parts of a sentence-transformers folder, in order; none of another folder."""
    path = root / "modules.json"
    modules: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    return modules


def pooling_of(root: Path, modules: list[dict[str, Any]]) -> tuple[str | None, tuple[Path, ...]]:
    """Their pooling, None for none, and the folders of dense layers; raises ModelError for a part of another kind."""
    pooling = None
    dense: list[Path] = []
    for module in modules:
        kind, path = str(module["type"]).rsplit(".", 1)[-1], root / str(module["path"])
        if kind == "Pooling":
            pooling = _pooling_mode(path / "config.json")
        elif kind == "Dense":
            dense.append(path)
        elif kind not in ("Transformer", "Normalize"):
            raise ModelError(f"{root}/modules.json: module {module['type']} is not supported")
    return pooling, tuple(dense)


def _pooling_mode(path: Path) -> str:
    config = read_json(path)
    modes = [mode for key, mode in _POOLING.items() if config.get(key)]
    named = config.get("pooling_mode")
    if isinstance(named, str):
        modes = [{"lasttoken": "last_token", "weightedmean": "weighted_mean"}.get(named, named)]
    if len(modes) != 1 or modes[0] not in _POOLING.values():
        raise ModelError(f"{path}: pooling {' + '.join(modes) or 'of no kind'} is not supported")
    return modes[0]


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, each checked for length where its format tells it."""
    name = next((name for name in _WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise ModelError(f"{folder}: no weights (none of {', '.join(_WEIGHTS)})")
    paths = [folder / name]
    if name.endswith(".index.json"):
        paths = [folder / shard for shard in sorted(set(read_json(folder / name)["weight_map"].values()))]
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path}: named by {name} but missing")
        if path.suffix == ".safetensors":
            check_safetensors(path)
    return paths


def check_safetensors(path: Path) -> None:
    """Raise ModelError where a file is cut: it states its own length, in 8 bytes, a JSON header, data up to the largest offset."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if 8 + length <= size else b""
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({size} bytes, its header is cut or broken)"
        ) from error
    if size != expected:
        raise ModelError(
            f"{path}: {size} bytes where its header says {expected}; the file is cut short, copy it again"
        )


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a folder's safetensors files; empty where its weights are in another format."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        if path.suffix != ".safetensors":
            return {}
        with path.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        entries = {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
        shapes.update(entries)
    return shapes


def weights_digest(
    config: Mapping[str, Any], weights: list[Path], pooling: str | None, dense: tuple[Path, ...]
) -> str:
    """Of weights, heads, configuration and the modules that come after the encoder."""
    shape = {
        key: value for key, value in config.items() if key not in ("_name_or_path", "transformers_version")
    }
    parts = [path for folder in dense for path in sorted(folder.iterdir()) if path.is_file()]
    own = [weights[0].parent / name for name in (OWN_HEAD, OWN_HEAD_WEIGHTS)]
    files = {path.name: digests.of_file(path) for path in [*weights, *own] if path.is_file()}
    modules = [digests.of_file(path) for path in parts]
    return digests.of_value({"config": shape, "files": files, "pooling": pooling, "dense": modules}, 32)


def tokenizer_digest(folder: Path) -> str:
    """Of all files of the tokenizer; raises ModelError where there is none."""
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise ModelError(
            f"{folder}: no tokenizer (none of {', '.join(_TOKENIZERS)}); save it beside the weights"
        )
    there = {file: folder / file for file in _TOKENIZER_FILES}
    return digests.of_value(
        {file: digests.of_file(path) if path.is_file() else None for file, path in there.items()}, 32
    )


def longest_of(folder: Path, config: Mapping[str, Any]) -> int | None:
    """Tokens that can be read at most, special tokens included, or None if nothing limits them."""
    limits = []
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0 and config["model_type"] not in _RELATIVE_POSITIONS:
        padding = config.get("pad_token_id")
        used_up = (padding if isinstance(padding, int) else 1) + 1
        limits.append(positions - (used_up if config["model_type"] in _OFFSET_POSITIONS else 0))
    for file, key in (
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        value = read_json(folder / file).get(key) if (folder / file).is_file() else None
        # transformers writes 1e30 for "no limit".
        if isinstance(value, int | float) and value < 1e9:
            limits.append(int(value))
    return min(limits, default=None)
