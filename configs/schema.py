"""The typed, frozen shape of an experiment: the sections of the library, composed."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

import models
from honeyguide.data.sample import SampleInfo
from honeyguide.diagnostics.settings import DiagnosticsSettings
from honeyguide.evaluation.attention_settings import AttentionSettings
from honeyguide.evaluation.enrichment_settings import EnrichmentSettings
from honeyguide.evaluation.importance_settings import ImportanceSettings
from honeyguide.evaluation.regression_settings import RegressionEvaluationSettings
from honeyguide.evaluation.settings import HistogramSettings, RocSettings
from honeyguide.evaluation.tagging_settings import TaggingSettings
from honeyguide.export.settings import ExportSettings
from honeyguide.generate.settings import DetectorSettings, GeneratorSettings
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.settings import ReaderSettings
from honeyguide.preprocess.settings import PreprocessSettings
from honeyguide.settings import Settings, insignificant
from honeyguide.training.settings import TrainingSettings


class SampleSettings(Settings):
    """One sample: what it is, and where its events come from (files, or the simulation)."""

    process: str
    """Physics process, e.g. ``qcd`` or ``svj``."""
    generator: str
    """Generator or generator setting that made it, e.g. ``herwig``."""
    label: Literal["background", "signal"] = "background"
    """Role of the sample: background (trains) or signal (is looked for)."""
    split: Literal["hash", "train", "test"] | None = None
    """``hash``: events are split by the hash of their id; ``train`` (with validation) or ``test``: all on one side.
    Default: ``hash`` for background, ``test`` for signal."""
    signal_point: dict[str, float] | None = None
    """Parameters of the signal, e.g. ``{mass: 3500, r_inv: 0.3}``."""
    files: tuple[str, ...] = ()
    """Paths or glob patterns; relative ones start at the folder of the dataset's YAML; ``$VARIABLES`` are expanded."""
    match: tuple[str, ...] = ()
    """Files of the dataset's ``filelist`` that are of this sample: globs for the whole path (``*`` matches ``/``, too)
    or, after ``re:``, regular expressions that are searched in it."""
    generate: GeneratorSettings | None = None
    """Simulate the sample instead of reading files."""

    @model_validator(mode="after")
    def _one_origin(self) -> SampleSettings:
        if bool(self.files) + bool(self.match) + (self.generate is not None) != 1:
            raise ValueError("a sample has either 'files' or 'match' or 'generate'")
        if self.label == "signal" and self.signal_point is None:
            raise ValueError("a signal sample names its signal_point, e.g. {mass: 3500}")
        self.info("sample")  # truth that contradicts itself is an error of this file, not of a later task
        return self

    def info(self, name: str) -> SampleInfo:
        """Returns the truth that is stored with the sample's events."""
        truth = {"process": self.process, "generator": self.generator, "label": self.label}
        optional = {"split": self.split, "signal_point": self.signal_point}
        return SampleInfo(name=name, **truth, **{k: v for k, v in optional.items() if v is not None})


class DatasetSettings(Settings):
    """A dataset: samples, how to read them, how to simulate those that have no files."""

    schema_version: Literal[1] = 1
    """Version of this file's form."""
    description: str = insignificant("", description="What the dataset is, for people.")
    samples: dict[str, SampleSettings] = Field(min_length=1)
    """Samples by name."""
    filelist: str | None = insignificant(
        None,
        description="Text file with a path, glob or URL per line: the files of the samples with 'match'. What is in "
        "the files counts, not how they are listed.",
    )
    reader: ReaderSettings = ReaderSettings()
    """How source files are read."""
    detector: DetectorSettings = DetectorSettings()
    """Detector, jets and trigger of simulated samples."""
    files_per_branch: int = insignificant(8, ge=1, description="Source files that one branch converts.")
    events_per_chunk: int = Field(1000, ge=1)
    """Simulated events of one branch of GenerateEventsTask."""

    @field_validator("samples")
    @classmethod
    def _sample_names(cls, samples: dict[str, SampleSettings]) -> dict[str, SampleSettings]:
        for name in samples:
            if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
                raise ValueError(f"sample name {name!r}: use letters, digits, '_' and '-' (it names folders)")
        if all(sample.label == "signal" or sample.split == "test" for sample in samples.values()):
            raise ValueError("no sample to train on: at least one background sample needs split hash or train")
        return samples

    @model_validator(mode="after")
    def _simulated_jets_have_tracks(self) -> DatasetSettings:
        simulated = any(sample.generate is not None for sample in self.samples.values())
        if simulated and self.reader.format == "arrays":
            raise ValueError("'reader.format: arrays' is for files: simulated samples are read as bead_csv or root")
        if simulated and self.reader.format == "root" and self.detector.tracking is None:
            raise ValueError("'reader.format: root' reads simulated jets with tracks: set detector.tracking, e.g. {}")
        return self


class ExperimentSettings(Settings):
    """Everything that a chain of tasks needs to know."""

    schema_version: Literal[1] = 1
    """Version of this file's form."""
    description: str = insignificant("", description="What the experiment is, for people.")
    dataset: DatasetSettings
    """The dataset; in YAML its name (``configs/datasets``) or a path relative to the experiment's file."""
    preprocess: PreprocessSettings = PreprocessSettings()
    """From stored events to model inputs."""
    model: SerializeAsAny[Settings]
    """The model: ``family`` (a key of ``models.REGISTRY``) and that family's own settings."""
    training: TrainingSettings = TrainingSettings()
    """The training loop."""
    inference: InferenceSettings = InferenceSettings()
    """How trained models are applied."""
    roc: RocSettings = RocSettings()
    """ROC curves and working points."""
    tagging: TaggingSettings = TaggingSettings()
    """Discriminators and working points of taggers."""
    regression: RegressionEvaluationSettings = RegressionEvaluationSettings()
    """Evaluation of predicted targets."""
    histograms: HistogramSettings = HistogramSettings()
    """Histograms of inputs."""
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    """The page about a training."""
    importance: ImportanceSettings = ImportanceSettings()
    """The permutation importance of the features of taggers."""
    attention: AttentionSettings = AttentionSettings()
    """The attention maps of transformers."""
    export: ExportSettings = ExportSettings()
    """The export of trained taggers."""
    enrichment: EnrichmentSettings = EnrichmentSettings()
    """The study of variants of a training."""

    @field_validator("model", mode="before")
    @classmethod
    def _of_its_family(cls, value: Any) -> Any:
        if isinstance(value, Settings):
            return value
        family = value.get("family") if isinstance(value, dict) else None
        return models.config_class(str(family)).model_validate_json(json.dumps(value), strict=True)
