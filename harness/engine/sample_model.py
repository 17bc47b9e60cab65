"""Builds the tiny sample encoder: an XLM-R-shaped folder made from the built-in corpus, without training.

Knows: the corpus tables, the Unigram tokenizer, the names and shapes of an XLM-R encoder's weights.
Does not know: tasks, scores, caches, where the folder is kept, or how it is moved into place.
"""

import csv
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

LANGUAGES = ("en", "de", "es", "sw", "zh", "ar")
UNSPACED = frozenset({"zh"})
FUNCTION_TAGS = frozenset({"DET", "ADP", "PART", "AUX", "CCONJ", "SCONJ", "PUNCT"})
LEADING_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
SPACE_MARK = "▁"
BOS_ID, PAD_ID, EOS_ID, UNK_ID = range(4)

HIDDEN = 96
LAYERS = 4
HEADS = 4
INTERMEDIATE = 192
MAX_TOKENS = 128
SEED = 20240607

# Fewest pieces win: one word costs less than any split of it, and any word less than one character.
WORD_SCORE = -2.0
CHARACTER_SCORE = -12.0

# LayerNorm lifts every token to the same length. The shared direction takes up that length, so that
# what carries little meaning ends near it instead of being blown up to the size of a content word.
SHARED_STD = 1.0
CONTENT_STD = 1.0
FUNCTION_STD = 0.15
TRANSLATION_NOISE = 1.0
PLAIN_STD = 0.05
LAYER_STD = 0.04

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sense:
    """One place of a surface form in the lexicon: which entry, in which language."""

    entry: int
    language: str


@dataclass(frozen=True)
class Vocabulary:
    """The scored pieces in id order, and the lexicon senses of those that have any."""

    pieces: tuple[tuple[str, float], ...]
    senses: Mapping[str, tuple[Sense, ...]]


def build_sample_model(corpus: Path, target: Path) -> None:
    """Write config, weights and tokenizer of the sample model into the folder `target`."""
    target.mkdir(parents=True, exist_ok=True)
    lexicon = _table(corpus / "lexicon.tsv")
    texts = _table(corpus / "sentences.tsv") + _table(corpus / "passages.tsv")
    vocabulary = _vocabulary(lexicon, texts)
    _save_tokenizer(_tokenizer(vocabulary), target)
    config = _config(len(vocabulary.pieces))
    config.save_pretrained(target)
    weights = _weights(config, vocabulary, [row["pos"] for row in lexicon])
    (target / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _normal(text: str) -> str:
    """The tokenizer's normal form, for pieces must be spelled as the tokenizer will see them."""
    return unicodedata.normalize("NFKC", text).lower()


def _vocabulary(lexicon: Sequence[Mapping[str, str]], texts: Sequence[Mapping[str, str]]) -> Vocabulary:
    senses = _senses(lexicon)
    characters = _characters([*lexicon, *texts]) - senses.keys()
    pieces = [(token, 0.0) for token in LEADING_SPECIALS]
    pieces += [(piece, WORD_SCORE) for piece in senses]
    pieces += [(piece, CHARACTER_SCORE) for piece in sorted(characters)]
    pieces.append((MASK, 0.0))
    return Vocabulary(tuple(pieces), senses)


def _senses(lexicon: Sequence[Mapping[str, str]]) -> dict[str, tuple[Sense, ...]]:
    found: dict[str, list[Sense]] = {}
    for entry, row in enumerate(lexicon):
        for language in LANGUAGES:
            sense = Sense(entry, language)
            for form in filter(None, row[language].split("|")):
                for piece in _spellings(_normal(form), language, row["pos"]):
                    # Full-width and half-width forms of one cell fall together once normalized.
                    if sense not in found.setdefault(piece, []):
                        found[piece].append(sense)
    return {piece: tuple(senses) for piece, senses in found.items()}


def _spellings(form: str, language: str, tag: str) -> tuple[str, ...]:
    """Chinese words and punctuation marks also stand in the middle of a run without spaces."""
    marked = SPACE_MARK + form
    return (marked, form) if language in UNSPACED or tag == "PUNCT" else (marked,)


def _characters(rows: Iterable[Mapping[str, str]]) -> set[str]:
    """Every character of the corpus, and of ASCII, so that plain foreign text is not all unknown."""
    text = "".join(_normal(row[language]) for row in rows for language in LANGUAGES)
    ascii_marks = string.ascii_lowercase + string.digits + string.punctuation
    return {char for char in text + ascii_marks + SPACE_MARK if not char.isspace()}


def _tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(list(vocabulary.pieces), unk_id=UNK_ID, byte_fallback=False))
    # Spanish opening marks lean on the next word, whose piece begins with the mark of a space.
    opening = [normalizers.Replace(mark, f"{mark} ") for mark in "¿¡"]
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), *opening])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement=SPACE_MARK, prepend_scheme="always"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE_MARK, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", BOS_ID), ("</s>", EOS_ID)],
    )
    return tokenizer


def _save_tokenizer(tokenizer: Tokenizer, target: Path) -> None:
    # transformers declares its loosely typed constructor only as `**kwargs: Any`.
    wrapper: Any = PreTrainedTokenizerFast
    fast = wrapper(
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=MASK,
        # With one segment type, as in XLM-R, the encoder takes no segment ids.
        model_input_names=["input_ids", "attention_mask"],
    )
    fast.save_pretrained(target)


def _config(vocabulary_size: int) -> XLMRobertaConfig:
    return XLMRobertaConfig(
        architectures=["XLMRobertaModel"],
        dtype="float32",
        vocab_size=vocabulary_size,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INTERMEDIATE,
        # XLM-R counts positions from the padding id on, which costs two rows.
        max_position_embeddings=MAX_TOKENS + PAD_ID + 1,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=BOS_ID,
        pad_token_id=PAD_ID,
        eos_token_id=EOS_ID,
    )


def _weights(
    config: XLMRobertaConfig, vocabulary: Vocabulary, tags: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    # On the meta device the model only tells names and shapes, and leaves torch's generator untouched.
    with torch.device("meta"):
        shapes = {
            name: tuple(tensor.shape)
            for name, tensor in XLMRobertaModel(config, add_pooling_layer=False).state_dict().items()
        }
    weights = {name: _layer_weight(name, shape) for name, shape in shapes.items()}
    weights["embeddings.word_embeddings.weight"] = _word_embeddings(vocabulary, tags)
    weights["embeddings.token_type_embeddings.weight"] = _normals("shared", (1, HIDDEN), SHARED_STD)
    positions = _normals("positions", shapes["embeddings.position_embeddings.weight"], PLAIN_STD)
    positions[PAD_ID] = 0.0
    weights["embeddings.position_embeddings.weight"] = positions
    return {name: weights[name].astype(np.float32) for name in shapes}


def _layer_weight(name: str, shape: tuple[int, ...]) -> Floats:
    if name.endswith("bias"):
        return np.zeros(shape)
    if "LayerNorm" in name:
        return np.ones(shape)
    return _normals(name, shape, LAYER_STD)


def _word_embeddings(vocabulary: Vocabulary, tags: Sequence[str]) -> Floats:
    """Translations share their entry's vector; noise per language and per form keeps them apart."""
    scale = np.array([FUNCTION_STD if tag in FUNCTION_TAGS else CONTENT_STD for tag in tags])
    concepts = _normals("concepts", (len(tags), 1, HIDDEN), 1.0)
    noise = _normals("translations", (len(tags), len(LANGUAGES), HIDDEN), TRANSLATION_NOISE)
    translations = (concepts + noise) * scale[:, np.newaxis, np.newaxis]
    table = _normals("pieces", (len(vocabulary.pieces), HIDDEN), PLAIN_STD)
    table[PAD_ID] = 0.0
    for row, (piece, _) in enumerate(vocabulary.pieces):
        if senses := vocabulary.senses.get(piece):
            meanings = [translations[sense.entry, LANGUAGES.index(sense.language)] for sense in senses]
            table[row] += np.mean(meanings, axis=0)
    return table


def _normals(name: str, shape: tuple[int, ...], std: float) -> Floats:
    """Normal draws from a generator of their own: no tensor depends on the order of the others."""
    generator = np.random.Generator(np.random.PCG64([SEED, *name.encode()]))
    return std * generator.standard_normal(shape)
