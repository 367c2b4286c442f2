# SPDX-License-Identifier: Apache-2.0
import pytest

from rd_plugin.models import ReverseDistillationModel

from ..base import TorchModelTests


class TestReverseDistillationModel(TorchModelTests):
    network = ReverseDistillationModel

    @pytest.mark.parametrize("bottleneck", ["mff_oce", "oce", "none"])
    @pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0"])
    def test_bottlenecks(self, backbone: str, bottleneck: str) -> None:
        model = self.build(backbone, bottleneck=bottleneck)
        assert any(parameter.requires_grad for parameter in model.bottleneck.parameters()) == (bottleneck != "none")
        self.check_every_parameter_is_trained(model, (97, 70))
        self.check_prediction(model, (97, 70))
