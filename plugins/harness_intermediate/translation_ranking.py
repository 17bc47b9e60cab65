"""Translation ranking: an encoder learns to put a sentence and its translation near each other. Knows papers and values only.

Papers: Guo et al. 2018 (arXiv 1807.11906), Yang et al. 2019 (arXiv 1902.08564), Feng et al. 2022 (LaBSE, arXiv
2007.01852). The pairs are those of TLM (:mod:`harness_intermediate.mlm`). Learned from and never scored.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness_xtreme import schedules

from harness import TaskSpec, Training, hookimpl
from harness.formats.bitexts import Bitexts
from harness.formats.drawn import text
from harness_intermediate import text_sources
from harness_intermediate.intermediate_schedules import RANKED

_CITATIONS = """@inproceedings{guo-etal-2018-effective,
  title = {Effective Parallel Corpus Mining using Bilingual Sentence Embeddings},
  author = {Guo, Mandy and Shen, Qinlan and Yang, Yinfei and Ge, Heming and Cer, Daniel and Hernandez Abrego, Gustavo and
            Stevens, Keith and Constant, Noah and Sung, Yun-Hsuan and Strope, Brian and Kurzweil, Ray},
  booktitle = {Proceedings of the Third Conference on Machine Translation},
  year = {2018}
}
@inproceedings{yang-etal-2019-improving,
  title = {Improving Multilingual Sentence Embedding using Bi-directional Dual Encoder with Additive Margin Softmax},
  author = {Yang, Yinfei and Hernandez Abrego, Gustavo and Yuan, Steve and Guo, Mandy and Shen, Qinlan and Cer, Daniel and
            Sung, Yun-Hsuan and Strope, Brian and Kurzweil, Ray},
  booktitle = {Proceedings of IJCAI},
  year = {2019}
}"""

TRANSLATION_RANKING = TaskSpec(
    name="translation_ranking",
    version=1,
    title="Telling which text is a translation, on pairs with English",
    format=Bitexts(),
    languages=text_sources.OTHER_LANGUAGES,
    splits=text_sources.SPLITS,
    split="dev",
    sources=text_sources.PAIRS,
    sample="harness_tasks:samples",
    example=text,
    metrics=(),
    protocols=schedules.SENTENCES,
    training={
        name: Training(task="translation_ranking", schedule=RANKED, max_length=128)
        for name in schedules.SENTENCES
    },
    licence=text_sources.LICENCES,
    citation=_CITATIONS,
    homepage="https://arxiv.org/abs/1902.08564",
    notes=(
        *text_sources.PAIR_NOTES,
        "What is learned is the mean of the last layer's states, so retrieval should read it there: --layer last.",
    ),
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """Translation ranking."""
    return (TRANSLATION_RANKING,)
