"""Trains heads with their encoder: AdamW, warm-up and decay, accumulation, selection, exact continuation.

One optimizer step learns from one lesson. Knows lessons and a schedule; knows no task and no language. What a score on
the selection set is, the caller says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.engine import trainstate
from harness.engine.accumulation import Accumulation
from harness.engine.freed import keep_freed
from harness.engine.gradients import dropout_seed
from harness.engine.lessons import Lesson, Step, lesson_order, total_steps
from harness.engine.optimizer import adamw, rate_factor
from harness.engine.ranks import ALONE, Ranks
from harness.engine.trainstate import Progress
from harness.errors import ModelError
from harness.formats.rows import Ints
from harness.place import LostRank
from harness.spec import Schedule

# Tokens per micro-batch: what keeps a CPU's caches, and what fills a GPU.
MICRO_TOKENS = {"cpu": 2_048, "cuda": 16_384}
_CURVE_POINTS = 200
# Of the time between two saved states: after longer than that the last step's state is saved as well.
_LAST_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the caller wants to be asked and told.

    Attributes:
        select: Score of the model on the selection set in percent, higher is better; None takes the last step's weights.
        started: Told of the number of steps, and of how many are done before.
        stepped: Told of each step and its loss.
        selected: Told of each selection score.
        watch: Losses on held-out sets, by name, that are written down where a selection score would be taken and decide
            nothing; None for none.
    """

    select: Callable[[], float] | None = None
    started: Callable[[int, int], None] = lambda steps, done: None
    stepped: Callable[[int, float], None] = lambda step, loss: None
    selected: Callable[[int, float], None] = lambda step, score: None
    watch: Callable[[], Mapping[str, float]] | None = None


@dataclass(kw_only=True)
class Trainer:
    """One training at work.

    Attributes:
        lessons: What is learned, with heads in float32 on one device, over one encoder; trained in place.
        schedule: Hyper-parameters; epochs and batch size are each lesson's own.
        seed: Of the order of lessons and rows, and of dropout.
        dtype: ``float32``, or ``bfloat16``/``float16`` for mixed precision.
        folder: Where the state of an unfinished training lies.
        micro_tokens: Tokens per micro-batch at first.
        save_seconds: Time between two saved states.
        hooks: The caller's.
        ranks: The processes that train together, each its items of every step; the first one saves and is told.
    """

    lessons: Sequence[Lesson]
    schedule: Schedule
    seed: int
    dtype: str
    folder: Path
    micro_tokens: int
    save_seconds: float = 300.0
    hooks: Hooks = field(default_factory=Hooks)
    ranks: Ranks = ALONE
    progress: Progress = field(default_factory=Progress)

    @cached_property
    def module(self) -> nn.Module:
        """What is trained: the one model, or all heads with what they share."""
        models = list({id(lesson.headed.module): lesson.headed.module for lesson in self.lessons}.values())
        return models[0] if len(models) == 1 else nn.ModuleList(models)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.lessons[0].headed.device

    @property
    def _accumulation(self) -> Accumulation:
        return Accumulation(
            module=self.module, device=self.device, dtype=self.dtype, ranks=self.ranks, progress=self.progress
        )

    @cached_property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return total_steps(self.lessons, self.schedule.max_steps)

    @cached_property
    def order(self) -> tuple[NDArray[np.int8], Ints]:
        """Which lesson each step learns, and the number of that step within its lesson."""
        return lesson_order(self.lessons, self.steps, self.seed)

    def run(self) -> Progress:
        """Train to the end, or from where an earlier run was stopped, and leave the chosen weights in the model.

        Raises:
            ModelError: The loss is not a number, or one row does not fit the device's memory. The last saved state stays.
            OutputError: The state cannot be saved.
            KeyboardInterrupt: Passed on after the state is saved, unless it came in the middle of an update, which only
                the last saved state can undo.
            LostRank: Likewise, where another process of this training is gone.
        """
        if not any(rate_factor(step, self.steps, self.schedule) > 0 for step in range(self.steps)):
            raise ModelError(
                f"no step of the {self.steps} would have a learning rate above 0 (warm-up {self.schedule.warmup:g}); a head "
                "that learned nothing is not scored: give more steps, or a smaller --hyper warmup"
            )
        if self.device.type == "cpu":
            keep_freed()
        torch.manual_seed(self.seed)
        optimizer = adamw(self.module, self.schedule)
        self.ranks.from_first(lambda: trainstate.sweep(self.folder))
        found = self.ranks.each(
            lambda: trainstate.load_state(self.folder, self.module, optimizer, self.device)
        )
        self.progress = found or Progress(micro_tokens=self.micro_tokens)
        self.ranks.agree("state of the training", [self.steps, self.progress.step])
        self._note_ranks()
        self.hooks.started(self.steps, self.progress.step)
        self._steps(optimizer)
        self.ranks.each(self._take_best)
        self.module.eval()
        return self.progress

    def _note_ranks(self) -> None:
        """How many processes train from which step on."""
        told = [entry for entry in self.progress.ranks if entry[0] < self.progress.step]
        if self.ranks.size != (told[-1][1] if told else 1):
            told.append([self.progress.step, self.ranks.size])
        self.progress.ranks = told

    def _take_best(self) -> None:
        if self.progress.best_step:
            trainstate.load_best(self.folder, self.module, self.progress.best_step)

    def _steps(self, optimizer: torch.optim.Optimizer) -> None:
        progress, last = self.progress, time.monotonic()
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == "float16")
        if progress.scaler:
            scaler.load_state_dict(dict(progress.scaler))
        self._look(optimizer)
        while progress.step < self.steps and not self._patience_spent():
            begun = time.monotonic()
            self.module.train()
            value, norm, rate = self._step(optimizer, scaler)
            progress.step += 1
            progress.scaler = dict(scaler.state_dict())
            self._note(value, norm, rate)
            self._tell(optimizer, value)
            self._look(optimizer)
            progress.seconds += time.monotonic() - begun
            if time.monotonic() - last > self.save_seconds and progress.step < self.steps:
                self._save(optimizer)
                last = time.monotonic()
        # What comes after the last step may take minutes too, and is not to cost much of what came before.
        if time.monotonic() - last > _LAST_SHARE * self.save_seconds:
            self._save(optimizer)

    def _tell(self, optimizer: torch.optim.Optimizer, value: float) -> None:
        try:
            self.hooks.stepped(self.progress.step, value)
        except KeyboardInterrupt:
            self._save(optimizer)
            raise

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        """Save the state, from the start again where it is interrupted once."""
        if not self.ranks.first:
            return
        write = partial(
            trainstate.save_state, self.folder, self.module, optimizer, self.progress, self.device
        )
        try:
            write()
        except KeyboardInterrupt:
            write()
            raise

    def _look(self, optimizer: torch.optim.Optimizer) -> None:
        """Score what is to be scored now; a run that is stopped meanwhile scores it again when it goes on."""
        try:
            if self._time_to_select():
                self._select()
            if self._time_to_watch():
                self._watch()
        except (KeyboardInterrupt, LostRank):
            self._save(optimizer)
            raise

    def _patience_spent(self) -> bool:
        patience = self.schedule.patience
        return patience is not None and self.progress.waited >= patience

    def _time_to_select(self) -> bool:
        progress = self.progress
        scored = bool(progress.selection) and progress.selection[-1]["step"] == progress.step
        if self.hooks.select is None or not progress.step or scored:
            return False
        return self.progress.step % self._every == 0 or self.progress.step == self.steps

    @property
    def _every(self) -> int:
        """Steps between two looks at what is held out."""
        paced = sum(lesson.steps_per_epoch for lesson in self.lessons if lesson.paced)
        return self.schedule.evaluate_every or paced

    def _time_to_watch(self) -> bool:
        progress = self.progress
        seen = bool(progress.watched) and progress.watched[-1]["step"] == progress.step
        if self.hooks.watch is None or seen:
            return False
        return progress.step % self._every == 0 or progress.step == self.steps

    def _watch(self) -> None:
        watch = self.hooks.watch
        assert watch is not None
        self.module.eval()
        try:
            losses = self.ranks.each(lambda: dict(watch()))
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"held-out texts do not fit the memory of {self.device}; use a smaller --hyper mlm.max_length=… or another "
                "device; the last saved state is kept"
            ) from error
        self.progress.watched.append({"step": self.progress.step, "losses": losses})

    def _select(self) -> None:
        """Score the selection set and keep the weights if they are the best so far (the earlier ones on a tie)."""
        progress, select = self.progress, self.hooks.select
        assert select is not None
        self.module.eval()
        with self._accumulation.precision():
            score = select()
        better = not progress.best_step or score > progress.best_score
        if better:
            self.ranks.from_first(lambda: trainstate.save_best(self.folder, self.module, progress.step))
            progress.best_step, progress.best_score = progress.step, score
        progress.waited = 0 if better else progress.waited + 1
        progress.selection.append({"step": progress.step, "score": score})
        self.hooks.selected(progress.step, score)

    def _note(self, value: float, norm: float, rate: float) -> None:
        step = self.progress.step
        lesson = self.lessons[self.order[0][step - 1]].name if len(self.lessons) > 1 else ""
        ends_point = step % max(1, self.steps // _CURVE_POINTS) == 0 or step == self.steps
        self.progress.note(value, norm, rate, lesson=lesson, ends_point=ends_point)

    def _step(
        self, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> tuple[float, float, float]:
        """One optimizer step; its loss, the gradient's norm before clipping, and the learning rate."""
        step = self.progress.step
        lesson, drawn = self._drawn(step)
        rate = self.schedule.learning_rate * rate_factor(step, self.steps, self.schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate
        if self.ranks.size > 1:
            torch.manual_seed(dropout_seed(self.ranks, self.seed, step))
        value = self._gradient_interruptibly(lesson, drawn, optimizer, scaler)
        if not math.isfinite(value):
            raise ModelError(
                f"the loss of step {step + 1} of {self.steps} is {value} in {self.dtype} with learning rate {rate:.2e}; "
                "try --dtype float32 or a smaller --hyper learning_rate=…; the last saved state is kept"
            )
        scaler.unscale_(optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), self.schedule.clip))
        if not scaler.is_enabled() and not math.isfinite(norm):
            raise ModelError(
                f"the gradient of step {step + 1} of {self.steps} is not finite in {self.dtype}, though its loss is; try "
                "--dtype float32 or a smaller --hyper learning_rate=…; the last saved state is kept"
            )
        try:
            scaler.step(optimizer)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"the optimizer's state does not fit the memory of {self.device} beside the model; use another "
                "device or a smaller model"
            ) from error
        scaler.update()
        return value, norm, rate

    def _drawn(self, step: int) -> tuple[Lesson, Step]:
        """The lesson of a step and its items."""
        which, number = self.order[0][step], self.order[1][step]
        lesson = self.lessons[which]
        return lesson, lesson.draw(int(number), self.seed)

    def _gradient_interruptibly(
        self, lesson: Lesson, drawn: Step, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> float:
        """Gradients and loss of a step; a run that is stopped meanwhile does it again, with the same random numbers."""
        before, tokens = trainstate.random_snapshot(self.device), self.progress.tokens
        try:
            return self._accumulation.gradient(lesson, drawn, scaler)
        except (KeyboardInterrupt, LostRank):
            trainstate.random_restore(before, self.device)
            self.progress.tokens = tokens
            self._save(optimizer)
            raise
