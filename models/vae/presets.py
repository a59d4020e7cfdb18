"""BEAD's model names, as settings of this family.

Shapes are BEAD's: kernels, padding, channels, 100 hidden units, flows with their numbers of steps. Where the layers
differ, and so the numbers of parameters that ``tests/models/test_presets.py`` accounts for one by one:

- Padded slots are masked here: encoders see the mask, as a second channel of the image or beside the features.
- A linear map that a batch normalisation follows has no bias, which would have no effect.
- There is no batch normalisation of latent vectors (``ConvAE``) nor of the decoder's image before it is one, and no
  layer that nothing reads (``q_z_latent`` of BEAD's ConvVAE, the batch normalisations and dropouts of its AE).
- ``AE_Dropout_BN``: one rate of dropout, 0.4, in all hidden layers, for BEAD's 0.5 to 0.2; encoder and decoder have
  their own normalisations, which BEAD shares.
- Orthogonal, Householder and triangular Sylvester flows: exactly as many parameters as their triangular matrices have
  entries; BEAD computes whole matrices and throws the diagonals away.
- ``ConvFlow_ConvVAE``: the encoder gives the convolutions' weights; in BEAD they are the same for all events (and the
  model does not run). ``NSFAR_ConvVAE``: the splines see the encoder too, with one masked network for all axes in each
  step instead of one network for each axis.
"""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal[
    "AE",
    "AE_Dropout_BN",
    "ConvAE",
    "ConvVAE",
    "Dirichlet_ConvVAE",
    "Planar_ConvVAE",
    "OrthogonalSylvester_ConvVAE",
    "HouseholderSylvester_ConvVAE",
    "TriangularSylvester_ConvVAE",
    "IAF_ConvVAE",
    "ConvFlow_ConvVAE",
    "NSFAR_ConvVAE",
]

_DENSE: dict[str, Any] = {"encoder": "dense", "hidden": (200, 100, 50), "posterior": "none"}
_CONV: dict[str, Any] = {
    "encoder": "conv",
    "channels": (32, 16, 8),
    "conv_padding": "one",
    "hidden": (100,),
    "normalization": "batch",
}
_CONV_VAE: dict[str, Any] = {**_CONV, "posterior": "gaussian"}

PRESETS: dict[Preset, dict[str, Any]] = {
    "AE": _DENSE,
    "AE_Dropout_BN": {**_DENSE, "normalization": "batch", "dropout": 0.4},
    "ConvAE": {**_CONV, "posterior": "none"},
    "ConvVAE": _CONV_VAE,
    "Dirichlet_ConvVAE": {**_CONV_VAE, "prior": "dirichlet"},
    "Planar_ConvVAE": {**_CONV_VAE, "flow": "planar", "flow_steps": 6},
    "OrthogonalSylvester_ConvVAE": {
        **_CONV_VAE,
        "flow": "orthogonal_sylvester",
        "flow_steps": 4,
        "flow_vectors": 5,
    },
    "HouseholderSylvester_ConvVAE": {
        **_CONV_VAE,
        "flow": "householder_sylvester",
        "flow_steps": 4,
        "flow_vectors": 8,
    },
    "TriangularSylvester_ConvVAE": {**_CONV_VAE, "flow": "triangular_sylvester", "flow_steps": 4},
    "IAF_ConvVAE": {**_CONV_VAE, "flow": "iaf", "flow_steps": 4, "flow_hidden": 60},
    "ConvFlow_ConvVAE": {**_CONV_VAE, "flow": "convolutional", "flow_steps": 4, "flow_kernel": 7},
    "NSFAR_ConvVAE": {
        **_CONV_VAE,
        "flow": "spline",
        "flow_steps": 4,
        "flow_hidden": 30,
        "flow_bins": 64,
        "flow_bound": 3.0,
    },
}
"""What each preset fills in where nothing is given. Terms and the latent dimensions are the family's defaults: they are
BEAD's (15 dimensions; weights 1 and 0.001)."""
