"""A model folder through transformers: configuration, tokenizer, the model without a head, and whether all of it is there.

Knows transformers and its exceptions to the rule; knows no head and nothing about running a model.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering, AutoTokenizer

from harness.checkpoints import Checkpoint
from harness.engine.hardware import TROUBLES, device_error
from harness.errors import ModelError


def config_of(checkpoint: Checkpoint) -> Any:
    """A checkpoint's configuration as transformers has it, with what the user asks for."""
    config: Any = AutoConfig.from_pretrained(
        str(checkpoint.folder), local_files_only=True, trust_remote_code=False
    )
    for name, value in checkpoint.asked.items():
        setattr(config, name, value)
    return config


def tokenizer_of(checkpoint: Checkpoint) -> Any:
    """Its tokenizer as transformers has it."""
    known: Any = AutoTokenizer
    return known.from_pretrained(str(checkpoint.folder), local_files_only=True, trust_remote_code=False)


def encoder_alone(config: Any) -> Any:
    """transformers' class where a folder holds only the encoder of an encoder-decoder; None for any other folder.

    ``AutoModel`` would open such a folder with a decoder whose weights are made up.
    """
    names = [name for name in config.architectures or () if name.endswith("EncoderModel")]
    return getattr(transformers, names[0], None) if names else None


def plain_model(checkpoint: Checkpoint, config: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model without a head, and what transformers says of loading it.

    A decoder that learned spans is opened with these: there transformers calls it ``transformer`` where all its other
    classes say ``model``, and would not find it in its own folder.
    """
    head = checkpoint.head
    spans = checkpoint.decoder and head is not None and head.kind == "span" and not (head.own or head.beside)
    known: Any = AutoModelForQuestionAnswering if spans else encoder_alone(config) or AutoModel
    model, info = opened_as(known, checkpoint, config, dtype)
    return (getattr(model, model.base_model_prefix) if spans else model), info


def opened_as(known: Any, checkpoint: Checkpoint, config: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """The folder as a class of transformers opens it, and what transformers says of loading it.

    Pickled weights load with weights_only, or not at all; transformers sees to that.
    """
    opened: tuple[Any, Any] = known.from_pretrained(
        str(checkpoint.folder),
        config=config,
        dtype=dtype,
        local_files_only=True,
        output_loading_info=True,
        # What does not fit is told by name, by who asked.
        ignore_mismatched_sizes=True,
        trust_remote_code=False,
    )
    return opened


def all_there(checkpoint: Checkpoint, missing: list[str], info: Any, what: str) -> None:
    """Raise ModelError where weights are missing or of another shape; transformers would have made them up."""
    gone = sorted([*missing, *(str(key[0]) for key in info.get("mismatched_keys", ()))])
    if gone:
        raise ModelError(
            f"{checkpoint.folder}: {len(gone)} tensors of the {what} are missing or of another shape and would be "
            f"random: {', '.join(gone[:5])}; nothing is scored with them"
        )


def set_language(base: Any, config: Any) -> None:
    """XMOD has adapters per language; without a choice it refuses to run."""
    if hasattr(base, "set_default_language") and not getattr(config, "default_language", None):
        known = list(config.languages)
        base.set_default_language("en_XX" if "en_XX" in known else known[0])


def check_vocabulary(checkpoint: Checkpoint, tokenizer: Any, module: nn.Module) -> None:
    """Raise ModelError where the tokenizer gives ids for which the model has no embedding: it is another model's."""
    highest = max(tokenizer.get_vocab().values(), default=0)
    models: list[Any] = [part for part in module.modules() if hasattr(part, "get_input_embeddings")]
    for part in models[:1]:
        known = int(part.get_input_embeddings().weight.shape[0])
        if highest >= known:
            raise ModelError(
                f"{checkpoint.folder}: its tokenizer gives ids up to {highest}, but the model knows only {known} pieces; "
                "put the tokenizer of this very model beside the weights"
            )


@contextlib.contextmanager
def quiet(checkpoint: Checkpoint, *passed_on: type[Exception]) -> Iterator[None]:
    """Turn whatever opening a folder may raise into one line, and keep transformers' chatter off the terminal.

    Errors of the kinds ``passed_on`` are left as they are.
    """
    chatter: Any = transformers.logging
    verbosity = chatter.get_verbosity()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModelError:
        raise
    except TROUBLES as error:
        advice = "use another --device, --dtype bfloat16 or a smaller model"
        raise device_error(str(checkpoint.folder), error, advice=advice) from error
    # transformers, tokenizers, safetensors and pickle raise a dozen kinds of errors for a folder that cannot be read.
    except Exception as error:
        if isinstance(error, passed_on):
            raise
        told = " ".join(str(error).split())
        raise ModelError(
            f"{checkpoint.folder}: cannot be opened ({type(error).__name__}: {told[:300]})"
        ) from error
    finally:
        chatter.set_verbosity(verbosity)
