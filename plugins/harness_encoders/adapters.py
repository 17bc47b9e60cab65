"""The adapters as values. Knows what each family needs; how a mixture of experts is run lies in ``mixtures``.

Nothing of torch or transformers is imported here; the functions do so when a model is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness import hookimpl, languages
from harness.encoders import EncoderAdapter, Languages
from harness.errors import ModelError, UsageError


def xmod_languages(config: Mapping[str, Any]) -> Languages:
    """XMOD's adapters by language: ``de_DE`` is German's, ``zh_CN`` comes before ``zh_TW`` as in the configuration.

    A language without an adapter is read with the configuration's ``default_language``, else with English's, else with
    the first.

    Raises:
        ModelError: The configuration names no adapter, or a default that is none.
    """
    parts = tuple(str(name) for name in config.get("languages") or ("en_XX",))
    numbers: dict[str, int] = {}
    for number, part in enumerate(parts):
        try:
            numbers.setdefault(languages.canonical(part.partition("_")[0]), number)
        except UsageError:
            # An adapter for what is no language to the harness is reached by no row.
            continue
    default = config.get("default_language") or ("en_XX" if "en_XX" in parts else parts[0])
    if default not in parts:
        raise ModelError(f"default_language {default} is none of its languages {', '.join(parts)}")
    return Languages(argument="lang_ids", parts=parts, numbers=numbers, default=parts.index(default))


def xmod_encoder(module: Any) -> Any:
    """The ``XmodModel`` inside a module, which is what takes ``lang_ids``."""
    return next(part for part in module.modules() if type(part).__name__ == "XmodModel")


def freeze_xmod(module: Any, least_rows: Callable[[], int]) -> None:
    """Take embeddings and adapters out of training, as the paper does (Pfeiffer et al. 2022, arXiv 2205.06266).

    What was learned with the English adapter works with another one only if the adapters stay what they were.
    """
    encoder = xmod_encoder(module)
    frozen = [encoder.embeddings]
    for layer in encoder.encoder.layer:
        frozen += [layer.output.adapter_modules, layer.output.adapter_layer_norm]
    for part in frozen:
        if part is not None:
            part.requires_grad_(False)


def prepare_switch(module: Any, least_rows: Callable[[], int]) -> None:
    """See :func:`harness_encoders.mixtures.prepare_switch`."""
    from harness_encoders import mixtures

    mixtures.prepare_switch(module, least_rows)


def prepare_nllb_moe(module: Any, least_rows: Callable[[], int]) -> None:
    """See :func:`harness_encoders.mixtures.prepare_nllb_moe`."""
    from harness_encoders import mixtures

    mixtures.prepare_nllb_moe(module, least_rows)


def prepare_decoder(module: Any, least_rows: Callable[[], int]) -> None:
    """Have a decoder keep no keys and values of the tokens that it has read: nothing is generated."""
    for part in module.modules():
        if getattr(getattr(part, "config", None), "use_cache", False):
            part.config.use_cache = False


def prepare_qwen3_moe(module: Any, least_rows: Callable[[], int]) -> None:
    """See :func:`prepare_decoder` and :func:`harness_encoders.mixtures.prepare_qwen3_moe`."""
    from harness_encoders import mixtures

    prepare_decoder(module, least_rows)
    mixtures.prepare_qwen3_moe(module, least_rows)


_DECODER_NOTES = (
    "Read from left to right, or in both directions as MODEL+bidirectional; heads read the last token, and vectors too "
    "with --pooling last_token."
)

XMOD = EncoderAdapter(
    name="xmod",
    model_types=("xmod",),
    encoder_of=xmod_encoder,
    prepare=freeze_xmod,
    languages=xmod_languages,
    notes="Each row is read with its language's adapter; fine-tuning leaves adapters and embeddings as they are.",
)
SWITCH = EncoderAdapter(
    name="switch-transformers",
    model_types=("switch_transformers",),
    prepare=prepare_switch,
    chance=("router_jitter_noise",),
    notes=(
        "An expert takes expert_capacity tokens of each row, whatever else is in the batch; the router is fine-tuned by "
        "the task's loss alone."
    ),
)
NLLB_MOE = EncoderAdapter(
    name="nllb-moe",
    model_types=("nllb-moe",),
    version=2,
    prepare=prepare_nllb_moe,
    separates=True,
    chance=("encoder_layerdrop", "decoder_layerdrop", "activation_dropout"),
    notes=(
        "Each token goes to both its experts: no capacity, in training neither; the router is fine-tuned by the task's "
        "loss alone."
    ),
)
DECODER = EncoderAdapter(
    name="decoder",
    model_types=("qwen3", "qwen2", "llama", "mistral"),
    prepare=prepare_decoder,
    decoder=True,
    separates=True,
    notes=_DECODER_NOTES,
)
QWEN3_MOE = EncoderAdapter(
    name="qwen3-moe",
    model_types=("qwen3_moe",),
    prepare=prepare_qwen3_moe,
    decoder=True,
    separates=True,
    notes=f"{_DECODER_NOTES} Each token goes to its experts whatever else is in the batch.",
)


@hookimpl
def harness_encoders() -> Iterable[EncoderAdapter]:
    """XMOD, three mixtures of experts, and decoders that are read as encoders."""
    return (XMOD, SWITCH, NLLB_MOE, DECODER, QWEN3_MOE)
