"""The specification of model inputs and their (yet unfitted) scalers, from the settings."""

from __future__ import annotations

from collections.abc import Sequence

from honeyguide.data.features import Feature
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.sample import SampleInfo
from honeyguide.preprocess.chain import Chain, Scalers
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings, locate_feature


def build_spec(settings: PreprocessSettings, samples: Sequence[SampleInfo]) -> InputSpec:
    """Returns the specification of the model inputs; names behind codes are sorted, signal points by their values."""
    points = {sample.signal_name: sorted((sample.signal_point or {}).items()) for sample in samples}
    return InputSpec(
        level=settings.level,
        shape=settings.shape,
        columns=_columns(settings.object_features, settings.level),
        event_columns=_columns(settings.event_features, "event"),
        processes=tuple(sorted({sample.process for sample in samples})),
        generators=tuple(sorted({sample.generator for sample in samples})),
        signal_points=tuple(sorted((name for name in points if name is not None), key=points.__getitem__)),
    )


def build_scalers(settings: PreprocessSettings) -> Scalers:
    """Returns unfitted chains for all features."""
    return Scalers(
        objects=tuple(_chain(setting, settings.level, settings) for setting in settings.object_features),
        event=tuple(_chain(setting, "event", settings) for setting in settings.event_features),
    )


def signal_code(sample: SampleInfo, spec: InputSpec) -> int:
    """Returns the code of the sample's signal point in ``spec.signal_points``, -1 where it has none."""
    return -1 if sample.signal_name is None else spec.signal_points.index(sample.signal_name)


def _chain(setting: FeatureSetting, level: str, settings: PreprocessSettings) -> Chain:
    _, feature = locate_feature(setting.name, level)
    return Chain(setting.name, setting.stages, num_categories=len(feature.categories), fit_sample=settings.fit_sample)


def _columns(features: Sequence[FeatureSetting], level: str) -> tuple[Column, ...]:
    columns: list[Column] = []
    for setting in features:
        _, feature = locate_feature(setting.name, level)
        columns += _columns_of(setting, feature)
    return tuple(columns)


def _columns_of(setting: FeatureSetting, feature: Feature) -> list[Column]:
    if setting.scaler == "sincos":
        names = [f"sin({setting.name})", f"cos({setting.name})"]
        return [Column(name=name, feature=setting.name, kind="continuous", unit=feature.unit) for name in names]
    if setting.scaler == "onehot":
        names = [f"{setting.name}={category}" for category in feature.categories]
        return [Column(name=name, feature=setting.name, kind="category", unit=feature.unit) for name in names]
    # a scaled flag is no longer 0 or 1
    binary = feature.kind == "binary" and setting.scaler == "none"
    return [
        Column(
            name=setting.name,
            feature=setting.name,
            kind="binary" if binary else "continuous",
            unit=feature.unit,
        )
    ]
