"""The training loop: epochs of steps and validation, which can be left and entered at any step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from honeyguide.data.streams import BatchStream
from honeyguide.errors import ModelError
from honeyguide.nn.model import Model
from honeyguide.training.annealing import Annealing
from honeyguide.training.checkpoint import Checkpoints
from honeyguide.training.device import random_state, set_random_state
from honeyguide.training.early_stopping import BestWeights
from honeyguide.training.loss import WeightedLoss
from honeyguide.training.metrics import MetricsLog
from honeyguide.training.progress import TrainingProgress
from honeyguide.training.ranks import Ranks
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.step import Stepper
from honeyguide.training.stopping import AbandonedError, StoppedError, StopRequest
from honeyguide.training.term_means import TermMeans
from honeyguide.training.weights import save_weights


@dataclass(frozen=True)
class Surroundings:
    """What a training looks to beside its work; no result depends on it.

    Attributes:
        progress: Is told of batches and epochs.
        checkpoints: Keeps the state.
        stop: Says when to stop.
        gives_up: Is given the record of each epoch, and says whether the training is worth no further one.
    """

    progress: TrainingProgress
    checkpoints: Checkpoints
    stop: StopRequest
    gives_up: Callable[[Mapping[str, Any]], bool] | None = None

    def stopping(self, ranks: Ranks) -> bool:
        """Returns whether any process was asked to stop; all must ask at the same time."""
        (stopping,) = ranks.any(self.stop.requested)
        return stopping


@dataclass
class Position:
    """How far a training is.

    Attributes:
        epoch: Number of epochs that are done.
        step: Number of steps of the present epoch that are done.
        seconds: Time that these have taken.
        learning_rate: Learning rate of the first of them.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    learning_rate: float = 0.0


class TrainingLoop:
    """One training from its first step, or from where its checkpoint is, to its last.

    Args:
        model: What to train, on its device.
        streams: Batches for training and for validation.
        log: Collects the epochs.
        settings: How to train.
        surroundings: Progress, checkpoints, signals.
        ranks: The processes that train together. Each has its part of the batches and its random numbers; weights,
            means and decisions are the same in all.
    """

    def __init__(
        self,
        model: Model,
        streams: tuple[BatchStream, BatchStream],
        log: MetricsLog,
        *,
        settings: TrainingSettings,
        surroundings: Surroundings,
        ranks: Ranks,
    ) -> None:
        self._model = model
        self._ranks = ranks
        self._train_stream, self._validation_stream = streams
        self._log = log
        self._settings = settings
        self._around = surroundings
        self._loss = WeightedLoss(
            model,
            weights=model.config.terms,
            precision=settings.precision,
            compiled=settings.compile,
            distributed=ranks.size > 1,
        )
        self._annealing = Annealing(
            settings.annealing,
            base=self._loss.values,
            num_epochs=settings.epochs,
            patience=settings.early_stopping_patience,
        )
        self._stepper = Stepper(model, self._loss, settings, steps_per_epoch=len(self._train_stream), ranks=ranks)
        self.best = BestWeights(settings.early_stopping_patience, settings.min_delta)
        self._at = Position(learning_rate=self._stepper.learning_rate)
        self._means = self._new_means("gradient_norm")

    def run(self) -> None:
        """Trains until the last epoch or until the patience is used up.

        Raises:
            StoppedError: It was asked to stop; the checkpoint has all that was done.
            AbandonedError: It was given up after an epoch.
        ModelError: A term is NaN or infinite.
        """
        state = self._ranks.from_first(self._around.checkpoints.read)
        if state is not None:
            self.load_state_dict(state)
        num_events = self._train_stream.num_events
        done = self._at.epoch * num_events + self._train_stream.events_before(self._at.step, self._at.epoch)
        self._around.progress.start(num_epochs=self._settings.epochs, num_events=num_events, done=done)
        while not self._finished:
            self._train_epoch()
            self._end_epoch(self._means.read())

    def save_weights(self, folder: Path) -> None:
        """Writes the weights of the last and of the best epoch."""
        with self._stepper.averaged():
            save_weights(self._model.state_dict(), folder / "last.safetensors")
        save_weights(self.best.weights, folder / "best.safetensors")

    @property
    def _finished(self) -> bool:
        return self._at.epoch >= self._settings.epochs or self.best.exhausted

    def _train_epoch(self) -> None:
        """Makes the steps of the epoch that are left."""
        self._model.train()
        self._loss.values = self._annealing.values_at([record["waited"] for record in self._log.epochs])
        around, stream, at = self._around, self._train_stream, self._at
        started = time.perf_counter() - at.seconds
        for batch in stream.batches(at.epoch, first=at.step):
            num_events = stream.events_in(at.step, at.epoch)
            self._means.add(self._stepper.step(batch, num_events), self._ranks.num_own(num_events))
            at.step += 1
            around.progress.batch(num_events)
            if not self._ranks.ask_at(at.step):
                continue
            stopping, due = self._ranks.any(around.stop.requested, around.checkpoints.due())
            if stopping or due:
                at.seconds = time.perf_counter() - started
                self._checkpoint(stopping=stopping)
        at.seconds = time.perf_counter() - started
        self._check_finite(self._means, stream, split="training")

    def _end_epoch(self, trained: dict[str, float]) -> None:
        """Validates, keeps the record and goes to the next epoch."""
        at, random = self._at, random_state(self._loss.device)
        values, self._loss.values = self._loss.values, self._model.validation_weights | self._model.annealable
        with self._stepper.averaged():
            validated, stopping = self._validate()
            monitored = (validated or trained)["total"]
            if not stopping:
                self.best.update(at.epoch, monitored, self._model)
        if stopping:  # perhaps in the midst of the validation: it is made again
            set_random_state(random, self._loss.device)
            self._checkpoint(stopping=True)
        self._stepper.schedule.after_epoch(monitored)
        record = {
            "epoch": at.epoch,
            "train": {name: value for name, value in trained.items() if name != "gradient_norm"},
            "validation": validated,
            "weights": values,
            "waited": self.best.waited,
            "learning_rate": at.learning_rate,
            "gradient_norm": trained["gradient_norm"],
            "seconds": at.seconds,
            "events_per_second": self._train_stream.events_before(len(self._train_stream), at.epoch) / at.seconds,
        }
        self._log.add(record)
        self._around.progress.epoch(record)
        self._at = Position(epoch=at.epoch + 1, learning_rate=self._stepper.learning_rate)
        self._means = self._new_means("gradient_norm")
        given_up = self._around.gives_up is not None and self._around.gives_up(record)
        given_up, due = self._ranks.any(given_up, self._around.checkpoints.due(epoch=at.epoch))
        if given_up and not self._finished:
            raise AbandonedError("the training was given up", where=f"after epoch {at.epoch + 1}")
        if due and not self._finished:
            self._checkpoint()

    def _validate(self) -> tuple[dict[str, float] | None, bool]:
        """Returns the mean of every term and of their weighted sum over the validation split, None where it is empty.

        Second is whether to stop: a request ends the validation early, without means.
        """
        stream, means = self._validation_stream, self._new_means()
        self._model.eval()
        self._ranks.take_from_first(self._model.buffers())  # running means of normalisations differ by now
        with torch.inference_mode():
            for number, batch in enumerate(stream.batches()):
                if self._ranks.ask_at(number) and self._around.stopping(self._ranks):
                    return None, True
                means.add(self._loss(batch), self._ranks.num_own(stream.events_in(number)))
        self._check_finite(means, stream, split="validation")
        return means.read() if stream.num_events else None, self._around.stopping(self._ranks)

    def _new_means(self, *further: str) -> TermMeans:
        return TermMeans([*self._loss.weights, "total", *further], self._loss.device, self._ranks)

    def _check_finite(self, means: TermMeans, stream: BatchStream, *, split: str) -> None:
        fault = means.first_non_finite()
        if fault is None:
            return
        order = self._at.epoch if split == "training" else 0
        own = next(stream.batches(order, first=fault.batch)).event_id[:5].tolist() if fault.is_own else []
        ids = [event_id for part in self._ranks.gather(own) for event_id in part][:5]
        raise ModelError(
            f"the training has diverged: {fault.name.replace('_', ' ')} is NaN or infinite",
            where=f"epoch {self._at.epoch + 1}, {split} batch {fault.batch + 1}",
            got=f"first events of that batch: {', '.join(map(str, ids))}",
            hint="a lower training.learning_rate, training.gradient_clip, or a scaler that bounds the inputs",
        )

    def _checkpoint(self, *, stopping: bool = False) -> None:
        """Writes the state; where it was asked for, this is the end of this process's work."""
        self._check_finite(self._means, self._train_stream, split="training")
        self._around.checkpoints.write(self.state_dict())
        if stopping:
            raise StoppedError(
                "the training was asked to stop (SIGTERM)",
                where=f"epoch {self._at.epoch + 1}, after {self._at.step} of {len(self._train_stream)} steps",
                hint="run the same command again: it goes on from there",
            )

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the rest of the training depends on, of all processes, as nested mappings."""
        own = {"means": self._means.state_dict(), "random": random_state(self._loss.device)}
        return {
            "position": vars(self._at),
            "model": self._model.state_dict(),
            "stepper": self._stepper.state_dict(),
            "best": self.best.state_dict(),
            "epochs": self._log.epochs,
            "ranks": self._ranks.gather(own),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts back what :meth:`state_dict` has returned."""
        self._at = Position(**state["position"])
        self._model.load_state_dict(state["model"])
        self._stepper.load_state_dict(state["stepper"])
        self.best.load_state_dict(state["best"])
        own = state["ranks"][self._ranks.rank]
        self._means.load_state_dict(own["means"])
        for record in state["epochs"]:
            self._log.add(record)
        set_random_state(own["random"], self._loss.device)
