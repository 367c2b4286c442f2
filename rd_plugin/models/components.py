# SPDX-License-Identifier: Apache-2.0
"""Former places of modules, under which torch exports from before version 0.2 look for their classes.

Deprecated; gone in version 0.3. Export such a model again from its checkpoint.
"""

import sys
import warnings
from importlib import import_module

_MOVED = {
    "anomaly_map": "rd_plugin.components.anomaly_map",
    "bottleneck": "rd_plugin.components.bottleneck",
    "deviation": "rd_plugin.components.deviation",
    "injection": "rd_plugin.models.expert_reverse_distillation.injection",
    "loss": "rd_plugin.models.reverse_distillation.loss",
    "pyramid": "rd_plugin.components.pyramid",
    "residual": "rd_plugin.components.residual",
    "student": "rd_plugin.components.student",
    "teacher": "rd_plugin.components.teacher",
    "twins": "rd_plugin.synthetic.twins",
}

warnings.warn(
    "rd_plugin.models.components is rd_plugin.components since version 0.2, and will be gone in 0.3. Export models of "
    "before to torch again, from their checkpoints.",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules |= {f"{__name__}.{name}": import_module(place) for name, place in _MOVED.items()}
