"""Masked language modelling on plain text, and on translation pairs with English (TLM). Knows papers and values only.

Papers: Devlin et al. 2019 (arXiv 1810.04805) for masked language modelling; Conneau & Lample 2019 (arXiv 1901.07291) for
many languages with a sampling exponent, and for translation pairs. Phang et al. 2020 (arXiv 2005.13013) mix it into
intermediate training. Both tasks are learned from and never scored.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness_xtreme import schedules

from harness import TaskSpec, Training, hookimpl
from harness.formats.drawn import text
from harness.formats.texts import Texts
from harness_intermediate import text_sources
from harness_intermediate.intermediate_schedules import MASKED
from harness_intermediate.wikipedia import ARTICLES, WIKIPEDIA

_CITATIONS = """@inproceedings{devlin-etal-2019-bert,
  title = {{BERT}: Pre-training of Deep Bidirectional Transformers for Language Understanding},
  author = {Devlin, Jacob and Chang, Ming-Wei and Lee, Kenton and Toutanova, Kristina},
  booktitle = {Proceedings of NAACL-HLT},
  year = {2019}
}
@inproceedings{conneau-lample-2019-cross,
  title = {Cross-lingual Language Model Pretraining},
  author = {Conneau, Alexis and Lample, Guillaume},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019}
}"""

MLM = TaskSpec(
    name="mlm",
    version=1,
    title="Masked language modelling on text in many languages",
    format=Texts(),
    languages=text_sources.LANGUAGES,
    splits=text_sources.SPLITS,
    split="dev",
    sources=(*text_sources.TEXTS, *WIKIPEDIA),
    sample="harness_tasks:samples",
    example=text,
    metrics=(),
    protocols=schedules.SENTENCES,
    training={name: Training(task="mlm", schedule=MASKED) for name in schedules.SENTENCES},
    licence=f"{text_sources.LICENCES}; Wikipedia CC BY-SA 4.0 and GFDL",
    citation=_CITATIONS,
    homepage="https://arxiv.org/abs/1810.04805",
    notes=(
        *text_sources.NOTES,
        "The Universal Declaration of Human Rights has no verse numbers and is learned whole.",
        f"Of the hub's Wikipedia (November 2023) the first {ARTICLES:,} articles of a language at most are read.",
        "Of the hub's files of a language only the first is fetched, some hundred megabytes for a large language.",
    ),
)

TLM = TaskSpec(
    name="tlm",
    version=1,
    title="Masked language modelling on translation pairs with English",
    format=Texts(pack=False),
    languages=text_sources.OTHER_LANGUAGES,
    splits=text_sources.SPLITS,
    split="dev",
    sources=text_sources.PAIRS,
    sample="harness_tasks:samples",
    example=text,
    metrics=(),
    protocols=schedules.SENTENCES,
    training={name: Training(task="tlm", schedule=MASKED) for name in schedules.SENTENCES},
    licence=text_sources.LICENCES,
    citation=_CITATIONS,
    homepage="https://arxiv.org/abs/1901.07291",
    notes=text_sources.PAIR_NOTES,
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """Masked language modelling on texts and on translation pairs."""
    return MLM, TLM
