"""Makes an encoder from nothing: a tokenizer learned from texts, and an XLM-R-shaped model with random weights.

Knows the tokenizers and transformers libraries; knows no task, no file and not where the folder is kept.
Source of the shape: XLM-R (Conneau et al. 2020, arXiv 1911.02116): NFKC text with a mark for the space, RoBERTa's special
tokens and positions, languages brought closer to each other by an exponent of 0.3. Ours: the pieces are byte-pair
encoding's, for the library's Unigram trainer gives other pieces each time and takes ten times as long; marks of punctuation
stand alone.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from harness.errors import DataError
from harness.formats.sampling import language_weights
from harness.newmodels import NewModel

# XLM-R's first ids; the mask comes last there, here after them, so that sizes do not move it.
BOS, PAD, EOS, UNKNOWN, MASK = _SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_SPACE = "▁"
_ALPHA = 0.3
# A language is read so many times at most, so that a few sentences do not fill the vocabulary.
_MOST_REPEATED = 20
# Characters beyond this share of all, the rarest, are unknown, as in XLM-R.
_COVERAGE = 0.9995


def build_new_model(model: NewModel, texts: Mapping[str, Sequence[str]], target: Path) -> None:
    """Write config, weights and tokenizer of a new encoder into a folder.

    The tokenizer follows from the texts, the weights from ``model.seed`` and the sizes.

    Args:
        model: What is wanted.
        texts: By language.
        target: Is made if it is not there.

    Raises:
        DataError: The texts do not hold so many pieces.
    """
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = learned_tokenizer(texts, model.vocabulary)
    size = tokenizer.get_vocab_size()
    if size != model.vocabulary:
        told = (
            f"give more text, or new:vocabulary={size}" if size < model.vocabulary else f"give {size} or more"
        )
        raise DataError(f"{model}: the texts give {size} pieces, not {model.vocabulary}; {told}")
    _save_tokenizer(tokenizer, model, target)
    state, chatter = torch.get_rng_state(), _chatter()
    chatter.disable_progress_bar()
    try:
        torch.manual_seed(model.seed)
        XLMRobertaModel(_config(model), add_pooling_layer=False).save_pretrained(target)
    finally:
        torch.set_rng_state(state)


def _chatter() -> Any:
    """transformers' settings of what it prints."""
    return transformers.logging


def learned_tokenizer(texts: Mapping[str, Sequence[str]], vocabulary: int) -> Tokenizer:
    """Byte-pair pieces of texts in several languages, the same each time.

    Args:
        texts: By language.
        vocabulary: Pieces at most, special tokens included; never fewer than the characters that are kept.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always"),
            pre_tokenizers.Punctuation(behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme="always")
    times = _times(texts)
    alphabet = _alphabet(texts, times)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        # Both together: left to itself the trainer chooses among equally rare characters anew each time.
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_repeated(texts, times), trainer=trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}",
        pair=f"{BOS} $A {EOS} {EOS} $B {EOS}",
        special_tokens=[(token, _SPECIAL.index(token)) for token in (BOS, EOS)],
    )
    return tokenizer


def _times(texts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many times each language is read, so that its share of the characters is near that of language sampling."""
    sizes = {code: sum(map(len, lines)) for code, lines in texts.items() if lines}
    weights = language_weights(sizes, _ALPHA)
    least = min(weights[code] / size for code, size in sizes.items())
    return {
        code: min(_MOST_REPEATED, max(1, round(weights[code] / size / least))) for code, size in sizes.items()
    }


def _repeated(texts: Mapping[str, Sequence[str]], times: Mapping[str, int]) -> Iterator[str]:
    for code in sorted(times):
        for _ in range(times[code]):
            yield from texts[code]


def _alphabet(texts: Mapping[str, Sequence[str]], times: Mapping[str, int]) -> list[str]:
    """The most frequent characters, of equally frequent ones the first in Unicode, until enough of the text is covered."""
    counts: Counter[str] = Counter()
    for code, repeated in times.items():
        mine: Counter[str] = Counter()
        for line in texts[code]:
            mine.update(unicodedata.normalize("NFKC", line))
        counts.update({char: repeated * count for char, count in mine.items() if not char.isspace()})
    left = sum(counts.values()) * _COVERAGE
    kept = [_SPACE]
    for char, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        if left <= 0:
            break
        kept.append(char)
        left -= count
    return sorted(set(kept))


def _save_tokenizer(tokenizer: Tokenizer, model: NewModel, target: Path) -> None:
    # transformers declares its loosely typed constructor only as `**kwargs: Any`.
    wrapper: Any = PreTrainedTokenizerFast
    fast = wrapper(
        tokenizer_object=tokenizer,
        model_max_length=model.tokens,
        bos_token=BOS,
        cls_token=BOS,
        eos_token=EOS,
        sep_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        mask_token=MASK,
        # With one segment type, as in XLM-R, the encoder takes no segment ids.
        model_input_names=["input_ids", "attention_mask"],
    )
    fast.save_pretrained(target)


def _config(model: NewModel) -> XLMRobertaConfig:
    padding = _SPECIAL.index(PAD)
    return XLMRobertaConfig(
        architectures=["XLMRobertaModel"],
        dtype="float32",
        vocab_size=model.vocabulary,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=4 * model.hidden,
        # XLM-R counts positions from the padding id on, which costs two rows.
        max_position_embeddings=model.tokens + padding + 1,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=_SPECIAL.index(BOS),
        pad_token_id=padding,
        eos_token_id=_SPECIAL.index(EOS),
    )
