"""Names of taggers, as settings of this family.

What a tagger of the high-level trigger reads, and which classes it has, stands in the experiment (``preprocess`` and
``model.classes``), not here: ``DeepJetHLT`` is DeepJet by another name, and ``ParticleNetHLT`` is ParticleNet.
"""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal[
    "DeepJet",
    "DeepJetHLT",
    "DeepJetTransformer",
    "MLP",
    "ParticleNet",
    "ParticleNetHLT",
    "ParticleNetLite",
    "ParticleTransformer",
]

PRESETS: dict[Preset, dict[str, Any]] = {
    "DeepJet": {"network": "deepjet"},
    "DeepJetHLT": {"network": "deepjet"},
    "DeepJetTransformer": {"network": "deepjet_transformer"},
    **{key: {"network": "particlenet", "hidden": (256,)} for key in ("ParticleNet", "ParticleNetHLT")},
    "ParticleTransformer": {"network": "particle_transformer", "hidden": ()},
    "ParticleNetLite": {
        "network": "particlenet",
        "edge_layers": ((32, 32, 32), (64, 64, 64)),
        "num_neighbours": 7,
        "hidden": (128,),
    },
    "MLP": {"network": "mlp", "hidden": (256, 128, 64)},
}
"""What each preset fills in where nothing is given."""
