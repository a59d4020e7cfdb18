"""What a tagger predicts beside classes, and the terms of it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.errors import ConfigError, nearest_name
from honeyguide.losses.regression import pinball_loss, regression_loss
from honeyguide.nn.model import weighted_mean
from honeyguide.nn.regression import RegressionHead
from models.tagger.config import TaggerConfig


class Regression(RegressionHead):
    """The head of the targets that the settings name.

    Raises:
        ConfigError: The inputs have no such target.
    """

    def __init__(self, config: TaggerConfig, spec: InputSpec, num_inputs: int) -> None:
        names = [column.name for column in spec.targets]
        for name in config.regression:
            if name not in names:
                raise ConfigError(
                    f"the inputs have no target '{name}' to predict",
                    where="model.regression",
                    allowed=", ".join(names) or None,
                    nearest=nearest_name(name, names),
                    hint="preprocess.targets names the columns of a row that are predicted",
                )
        quantiles = {name: item.quantiles for name, item in config.regression.items()}
        super().__init__(num_inputs, quantiles, bias=config.bias)
        self._columns = {name: names.index(name) for name in config.regression}
        self._settings = config.regression

    def terms(self, latent: Float[Tensor, "batch width"], batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Returns ``regression`` and, with quantiles, ``quantile``: weighted sums over the targets of their means."""
        assert batch.targets is not None, "rows that a regression learns from have targets"
        values, quantiles = [], []
        for name, found in self(latent).items():
            settings, target = self._settings[name], batch.targets[:, self._columns[name]]
            each = regression_loss(found[:, 0], target, settings.loss)
            values.append(settings.weight * weighted_mean(each, batch.weight))
            if settings.quantiles:
                each = pinball_loss(found[:, 1:], target, settings.quantiles)
                quantiles.append(settings.weight * weighted_mean(each, batch.weight))
        parts = {"regression": values, "quantile": quantiles}
        return {name: sum(terms[1:], terms[0]) for name, terms in parts.items() if terms}
