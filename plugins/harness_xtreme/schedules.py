"""Published hyper-parameters of the nine target tasks: XTREME's and those of Phang et al. Values only; knows no data.

XTREME: the training scripts of google-research/xtreme at commit 838c13b, with the values for XLM-R Large. XNLI,
PAWS-X, PAN-X and UD-POS use AdamW without weight decay and without warm-up and keep the checkpoint with the best score
on the English dev set, scored each time a checkpoint is saved (every 100, 200, 1,000 and 500 steps). The question
answering tasks warm up for 500 steps, decay weights by 1e-4 and keep the last checkpoint. The paper itself (arXiv
2003.11080) states 2 epochs and a rate of 2e-5 for XNLI; the later scripts count here.

Phang et al. 2020 (arXiv 2005.13013): jiant's XTREME scripts by its first author (nyu-mll/jiant at commit daa5a258),
for XLM-R Large: rate 1e-5, warm-up over a tenth of the steps, weight decay 0.01, a score every 1,000 steps on 500
examples of the English dev set of what is trained on, stop after 30 scores without improvement.

Both: linear decay, AdamW's epsilon 1e-8, gradients clipped to norm 1, 32 rows a step (16 for questions in Phang et
al.). Neither source states AdamW's betas; they are the defaults of the optimizer that both call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness import Encoding, Schedule, Training

_XTREME = Schedule(epochs=5, batch_size=32, learning_rate=2e-5)
XTREME_XNLI = replace(_XTREME, learning_rate=3e-5, evaluate_every=100)
XTREME_PAWSX = replace(_XTREME, evaluate_every=200)
XTREME_PANX = replace(_XTREME, epochs=10, evaluate_every=1000)
XTREME_UDPOS = replace(_XTREME, epochs=10, evaluate_every=500)
XTREME_QUESTIONS = Schedule(epochs=3, batch_size=32, learning_rate=3e-5, warmup=500, weight_decay=1e-4)

_PHANG = Schedule(
    epochs=2,
    batch_size=32,
    learning_rate=1e-5,
    warmup=0.1,
    weight_decay=0.01,
    evaluate_every=1000,
    patience=30,
    select_limit=500,
)
PHANG_XNLI = _PHANG
PHANG_PAWSX = replace(_PHANG, epochs=5)
PHANG_TAGGING = replace(_PHANG, epochs=10)
PHANG_QUESTIONS = replace(_PHANG, batch_size=16)

# Tokens per row, for sentences (pairs and tagging) and for questions on passages.
SENTENCES: Mapping[str, Encoding] = {
    "xtreme": Encoding(max_length=128),
    "phang2020": Encoding(max_length=256),
}
QUESTIONS: Mapping[str, Encoding] = {
    "xtreme": Encoding(max_length=384),
    "phang2020": Encoding(max_length=384),
}

# One training for every task that learns from SQuAD, so that it is done once.
SQUAD: Mapping[str, Training] = {
    "xtreme": Training(task="squad_v1", schedule=XTREME_QUESTIONS),
    "phang2020": Training(task="squad_v1", schedule=PHANG_QUESTIONS, select=("squad_v1", "dev")),
}
