"""The specification of model inputs and their (yet unfitted) scalers, from the settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from honeyguide.data.features import Feature
from honeyguide.data.input_spec import Column, InputSpec, ObjectSet
from honeyguide.data.model_inputs import read_spec
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError, nearest_name
from honeyguide.preprocess.chain import Chain, Scalers
from honeyguide.preprocess.scalers import Affine
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings, locate_feature


def build_spec(
    settings: PreprocessSettings,
    samples: Sequence[SampleInfo],
    *,
    base: InputSpec | None = None,
    truths: tuple[str, ...] = (),
) -> InputSpec:
    """Returns the specification of the model inputs.

    Names behind codes are sorted, signal points by their values. Names of ``base`` come first, so that codes that were
    given before keep their meaning. Those of truths are used as they are.
    """
    is_row = settings.level == "row"
    event_columns = _row_columns(settings.event_features) if is_row else _columns(settings.event_features, "event")
    points = {sample.signal_name: sorted((sample.signal_point or {}).items()) for sample in samples}
    names = sorted((name for name in points if name is not None), key=points.__getitem__)
    return InputSpec(
        level=settings.level,
        shape=settings.shape,
        columns=() if is_row else _columns(settings.object_features, settings.level),
        event_columns=event_columns,
        processes=_merge(base.processes if base else (), sorted({sample.process for sample in samples})),
        generators=_merge(base.generators if base else (), sorted({sample.generator for sample in samples})),
        signal_points=_merge(base.signal_points if base else (), names),
        sets=tuple(
            ObjectSet(
                name=name, size=item.size, columns=_row_columns(item.all_features), vectors=item.vectors is not None
            )
            for name, item in settings.sets.items()
        ),
        targets=_row_columns(settings.targets),
        observers=settings.observers,
        truths=truths,
    )


def reuse_fit(
    folder: Path, settings: PreprocessSettings, samples: Sequence[SampleInfo], *, truths: Sequence[str] = ()
) -> tuple[Scalers, InputSpec]:
    """Returns the scalers of other model inputs, and a specification that goes on with their codes.

    Raises:
        ConfigError: Those have other columns or another shape than the settings ask for.
        DataError: One of the given truths is none of theirs.
        StoreError: They are missing or damaged.
    """
    base, scalers = read_spec(folder), Scalers.read(folder)
    spec = build_spec(settings, samples, base=base, truths=base.truths)
    parts = ("level", "shape", "columns", "event_columns", "sets", "targets", "observers")
    unlike = [name for name in parts if getattr(spec, name) != getattr(base, name)]
    if unlike or _stages(scalers) != _stages(build_scalers(settings)):
        raise ConfigError(
            "events can't be scaled as other model inputs are, since those were made by other settings",
            where=folder,
            got=", ".join(unlike or ["scalers"]) + " differ",
            hint="use the same preprocess section for both datasets",
        )
    for name in truths:
        if name not in base.truths:
            raise DataError(
                f"the truth '{name}' is none of those that were trained with",
                where=folder,
                allowed=", ".join(base.truths) or "none",
                nearest=nearest_name(name, base.truths),
                hint="define the same truths for both datasets",
            )
    return scalers, spec


def build_scalers(settings: PreprocessSettings) -> Scalers:
    """Returns unfitted chains for all features."""
    if settings.level == "row":
        return Scalers(
            objects=(),
            event=_row_chains(settings.event_features, settings),
            sets={name: _row_chains(item.all_features, settings) for name, item in settings.sets.items()},
            targets=_row_chains(settings.targets, settings),
        )
    return Scalers(
        objects=tuple(_chain(setting, settings.level, settings) for setting in settings.object_features),
        event=tuple(_chain(setting, "event", settings) for setting in settings.event_features),
    )


def _stages(scalers: Scalers) -> list[list[object]]:
    """Returns what is known of all stages before anything is fitted."""
    of_sets = (chain for of_set in scalers.sets.values() for chain in of_set)
    chains = [*scalers.objects, *scalers.event, *of_sets, *scalers.targets]
    return [
        [(stage.name, stage.state() if isinstance(stage, Affine) else None) for stage in chain.stages]
        for chain in chains
    ]


def _row_chains(features: Sequence[FeatureSetting], settings: PreprocessSettings) -> tuple[Chain, ...]:
    return tuple(
        Chain(setting.name, setting.stages, fit_sample=settings.fit_sample, affine=setting.affine)
        for setting in features
    )


def _merge(known: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*known, *names]))


def _chain(setting: FeatureSetting, level: str, settings: PreprocessSettings) -> Chain:
    _, feature = locate_feature(setting.name, level)
    return Chain(
        setting.name,
        setting.stages,
        num_categories=len(feature.categories),
        fit_sample=settings.fit_sample,
        affine=setting.affine,
    )


def _columns(features: Sequence[FeatureSetting], level: str) -> tuple[Column, ...]:
    columns: list[Column] = []
    for setting in features:
        _, feature = locate_feature(setting.name, level)
        columns += _columns_of(setting, feature)
    return tuple(columns)


def _row_columns(features: Sequence[FeatureSetting]) -> tuple[Column, ...]:
    """Returns the columns of features that no table knows."""
    names = [
        (template.format(setting.name), setting.name)
        for setting in features
        for template in (("sin({})", "cos({})") if setting.scaler == "sincos" else ("{}",))
    ]
    return tuple(Column(name=name, feature=feature, kind="continuous") for name, feature in names)


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
