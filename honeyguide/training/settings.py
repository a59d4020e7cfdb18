"""Settings of a training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from honeyguide.settings import Settings, insignificant
from honeyguide.training.adversarial_settings import AdversarialSettings
from honeyguide.training.annealing_settings import AnnealingSettings
from honeyguide.training.start_settings import StartSettings, check_pattern

Decay = Annotated[float, Field(ge=0, lt=1)]
_WITH_BETAS = ("adamw", "adam", "radam", "ranger")


class TrainingSettings(Settings):
    """How a model is trained."""

    epochs: int = Field(50, gt=0)
    """Most passes over the training split."""
    batch_size: int = Field(256, gt=0)
    """Most events in a batch, of all processes together; the batches of an epoch differ by one event at most."""
    accumulate: int = Field(1, gt=0)
    """Batches whose gradients make one step together: as a batch that many times larger, in the memory of one. Terms
    that compare events do so within each."""
    length_buckets: bool = False
    """Batches of rows with similar numbers of objects, cut off behind the last object: there is little padding to be
    computed. A batch is then no random draw of all rows; which of them come together, and in which order, is drawn
    anew in every epoch. For models that take any number of objects (taggers but for ``mlp``)."""
    learning_rate: float = Field(1e-3, gt=0)
    """Step size at the start."""
    learning_rates: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """What the learning rate of some parameters is multiplied by: a regular expression for the beginning of their names
    to a factor, such as ``to_logits: 50``. The first one that fits counts."""
    optimizer: Literal["adamw", "adam", "radam", "ranger", "sgd", "rmsprop", "adagrad"] = "adamw"
    """Rule of the steps; ``sgd`` has Nesterov momentum. ``ranger``: RAdam (arXiv:1908.03265) with weight decay that is
    no part of the gradient, and Lookahead of 6 steps where ``lookahead_steps`` says nothing else."""
    betas: tuple[Decay, Decay] | None = None
    """Decay of the averages of gradient and squared gradient of ``adamw``, ``adam``, ``radam`` and ``ranger``; null for
    0.95 and 0.999 of ``ranger``, 0.9 and 0.999 of the others."""
    epsilon: float | None = Field(None, gt=0)
    """What is added to the root of the squared gradient; null for 1e-5 of ``ranger``, 1e-10 of ``adagrad``, 1e-8 of the
    others. ``sgd`` has none."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum; read by ``sgd`` and ``rmsprop`` alone."""
    weight_decay: float = Field(0.01, ge=0)
    """Strength of weight decay."""
    weight_decay_of: Literal["all", "matrices"] = "all"
    """``matrices`` leaves out what has one axis (biases, normalisations, scales) and class tokens, as in the
    publication of Particle Transformer."""
    lookahead_steps: int | None = Field(None, gt=0)
    """Steps of the optimizer per step of Lookahead's slow weights (arXiv:1907.08610); null for no Lookahead, but with
    ``ranger``."""
    lookahead_share: float = Field(0.5, gt=0, le=1)
    """How far Lookahead's slow weights go towards the optimizer's."""
    scheduler: Literal[
        "none", "plateau", "cosine", "warmup_cosine", "one_cycle", "flat_decay", "flat_decay_epochs", "linear", "steps"
    ] = "plateau"
    """``plateau`` multiplies the learning rate by ``scheduler_factor`` after ``scheduler_patience`` epochs without
    improvement; ``cosine`` lowers it to 0 over ``epochs``, epoch by epoch. Step by step: ``warmup_cosine`` raises it
    linearly, then lowers it to 0; ``one_cycle`` (arXiv:1708.07120) raises it from 1/25, then lowers it to 4e-6;
    ``flat_decay`` keeps it, then lowers it exponentially to 1/100, and ``flat_decay_epochs`` does so epoch by epoch, as
    in the publication of Particle Transformer: the last one has 1/100. ``linear`` goes straight from point to point of
    ``scheduler_points``. ``steps`` multiplies it by ``scheduler_factor`` at ``scheduler_steps``."""
    scheduler_turn: float | None = Field(None, gt=0, lt=1)
    """Share of ``epochs`` before the learning rate begins to fall; null for 0.1 with ``warmup_cosine``, 0.3 with
    ``one_cycle``, 0.7 with ``flat_decay`` and ``flat_decay_epochs``."""
    scheduler_points: tuple[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]], ...] = ()
    """Epochs, and what the learning rate is then multiplied by, for ``linear``; before the first point and after the
    last one it stays. ``[[0, 0.1], [8, 1], [16, 0.1], [20, 0.0001667]]`` is that of ParticleNet's publication."""
    scheduler_steps: tuple[Annotated[int, Field(gt=0)], ...] = (30, 40)
    """Numbers of epochs after which ``steps`` lowers the learning rate."""
    scheduler_patience: int = Field(5, ge=0)
    """Epochs without improvement before ``plateau`` acts."""
    scheduler_factor: float = Field(0.5, gt=0, lt=1)
    """What ``plateau`` and ``steps`` multiply the learning rate by."""
    gradient_clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; null for any."""
    early_stopping_patience: int | None = Field(10, gt=0)
    """Epochs without improvement of the validation loss before training stops; null to train all epochs. The best
    weights are kept in any case."""
    min_delta: float = Field(0.0, ge=0)
    """How much lower the validation loss must be to count as an improvement."""
    event_weights: Literal["none", "physics", "balance_generators"] = "none"
    """Weight of an event in the loss. ``none``: all the same, generators are mixed as they come. ``physics``: the
    stored event weights. ``balance_generators``: every generator counts the same in total."""
    loss_weighting: bool = False
    """Where rows are reweighted (``preprocess.reweighting``): true multiplies their weights in the loss by the factors;
    false samples rows anew in every epoch, each with its probability, so that there are fewer steps of rows that count
    the same. What is validated is weighted in both cases: no decision depends on what was drawn."""
    annealing: dict[str, AnnealingSettings] = Field(default_factory=dict)
    """How the weights of loss terms, by term, and ``contrastive_temperature`` and ``adversary_strength`` change during
    training. BEAD's ``reg_param`` stands for the terms ``kl``, ``flow``, ``emd``, ``l1`` and ``l2``, its
    ``contrastive_weight`` for ``supervised_contrastive`` and ``ntxent``, those that there are. What is validated, and
    so when to stop, is the loss with the values as they are in ``model``."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """How much of the moving average of the weights stays in each step. With it, the average is what is validated and
    kept; null for the weights themselves."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Type of the matrix products; weights are fp32 in any case. ``fp16`` scales the loss so that small gradients are
    not lost, and needs a GPU."""
    adversarial: AdversarialSettings | None = None
    """Attacked inputs to train on beside the clean ones; null for none. What is validated is clean."""
    start: StartSettings | None = None
    """Weights to begin with, those of another training or published ones; null to begin with random ones."""
    seeds: tuple[int, ...] = (1,)
    """A training for each seed of the weights, the order of events and the random draws."""
    folds: int | None = Field(None, ge=2)
    """Train this many times per seed, each with another part of the training and validation events for validation:
    every event validates once. Scalers are still those of the training split. Null for the splits as they are."""
    processes: int = Field(1, gt=0)
    """Processes that train one model together, over all nodes. Each takes its part of every batch, on a GPU of its own
    where there are GPUs. They make the steps that one process makes, but for rounding, for what is drawn at random and
    for batch normalisation, which sees a process's own part."""
    device: str = insignificant("auto", description="auto (a GPU where there is one), cpu, cuda or cuda:1, ...")
    num_threads: int | None = insignificant(None, gt=0, description="CPU threads of torch; null for torch's choice.")
    resident_mb: int | None = insignificant(
        None,
        ge=0,
        description="Events are kept on the device if they take no more than this (MiB), else streamed; null for 1024 "
        "on a CPU and half of the free memory of a GPU.",
    )
    compile: bool = insignificant(False, description="Let torch compile the loss, where a compiler is.")
    checkpoint_epochs: int | None = insignificant(
        None, gt=0, description="Epochs between two checkpoints, from which a killed training goes on; null for any."
    )
    checkpoint_seconds: float | None = insignificant(
        60.0, ge=0, description="Seconds between two checkpoints; null for checkpoints by epochs alone."
    )
    tensorboard: bool = insignificant(True, description="Write TensorBoard files.")

    @property
    def turn(self) -> float:
        """Share of the training before the learning rate begins to fall."""
        return self.scheduler_turn or {"warmup_cosine": 0.1, "one_cycle": 0.3}.get(self.scheduler, 0.7)

    @property
    def slow_steps(self) -> int | None:
        """Steps of the optimizer per step of Lookahead's slow weights; None for no Lookahead."""
        return self.lookahead_steps or (6 if self.optimizer == "ranger" else None)

    @model_validator(mode="after")
    def _possible_steps(self) -> TrainingSettings:
        if self.betas is not None and self.optimizer not in _WITH_BETAS:
            raise ValueError(f"betas are read by {', '.join(_WITH_BETAS)}, and the optimizer is {self.optimizer}")
        if self.epsilon is not None and self.optimizer == "sgd":
            raise ValueError("sgd has no epsilon")
        times = [time for time, _ in self.scheduler_points]
        if (self.scheduler == "linear") != bool(times):
            raise ValueError("scheduler_points and scheduler: linear go together")
        if sorted(set(times)) != times:
            raise ValueError(f"the epochs of scheduler_points must rise: {times}")
        for pattern in self.learning_rates:
            check_pattern(pattern)
        return self

    @model_validator(mode="after")
    def _possible(self) -> TrainingSettings:
        if not self.seeds:
            raise ValueError("seeds is empty: there is nothing to train")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"a seed stands twice in seeds: {list(self.seeds)}")
        if any(seed < 0 for seed in self.seeds):
            raise ValueError(f"seeds must be 0 or larger: {list(self.seeds)}")
        return self
