"""What transformers attend to."""

from __future__ import annotations

import functools
from typing import ClassVar

import models
from tasks.export import OfTaggers
from tasks.training import TrainingParameters


class AttentionTask(OfTaggers):
    """Look at the attention of a transformer in single test jets, and in the mean; a branch is a training.

        law run AttentionTask --config top_landscape_particlenet --set model.network=particle_transformer

    Outputs: ``attention.h5`` (weights of every block and head, with pt, eta and phi of the objects), figures as PNG and
    PDF: matrices by rank in pt, lines in the plane of eta and phi, and what the class token reads.
    """

    sections: ClassVar[tuple[str, ...]] = (*TrainingParameters.sections, "attention")
    own_sections = ("attention",)
    result_version = 1

    def run(self) -> None:
        """Looks, and draws."""
        from honeyguide.evaluation.attention import look_at_attention

        settings, inputs = self.experiment.settings, self.input()
        with self.write_output() as folder:
            jets, means = look_at_attention(
                inputs["training"].folder,
                inputs["inputs"].folder,
                folder,
                build_model=functools.partial(models.build, settings.model),
                settings=settings.attention,
            )
        counts = ", ".join(f"{mean.num_jets:,} of {mean.truth}" for mean in means)
        self.publish_message(f"{len(jets)} jets, and means over {counts}\nfigures and numbers: {self.output().path}")
