"""Hyper-parameters of intermediate training. Values only; knows no data.

No source gives those of Phang et al. 2020 (arXiv 2005.13013) for this phase. What is taken here: jiant's scripts for
the same authors' target tasks (nyu-mll/jiant at commit daa5a258) for rate, warm-up, weight decay and selection, and
the default of jiant's simple interface for epochs. All of it is this harness's own choice and marked so in
``Schedule.ours``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness import Schedule, Training

_OURS = ("epochs", "batch_size", "learning_rate", "warmup", "weight_decay", "evaluate_every", "patience")
SENTENCES = Schedule(
    epochs=3,
    batch_size=32,
    learning_rate=1e-5,
    warmup=0.1,
    weight_decay=0.01,
    evaluate_every=1000,
    patience=30,
    select_limit=500,
    ours=(*_OURS, "select_limit"),
)
QUESTIONS = replace(SENTENCES, batch_size=16)
# A choice question is as many rows as it has choices.
CHOICES = replace(SENTENCES, batch_size=16)
# Masked LM never ends by itself; how long it goes on, the share of it in a stage says.
MASKED = replace(SENTENCES, epochs=1, patience=None)
# The others of a batch are the wrong answers, so a batch is larger.
RANKED = replace(MASKED, batch_size=128)


def of_task(task: str, schedule: Schedule, *, dev: str = "dev") -> Mapping[str, Training]:
    """The trainings of an intermediate task, chosen on its own dev set, the same for every protocol."""
    training = Training(task=task, schedule=schedule, select=(task, dev))
    return {"xtreme": training, "phang2020": training}
