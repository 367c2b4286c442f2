# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of anomalib's own Dinomaly."""

import pytest
import timm
import torch
from anomalib.models import Dinomaly as Theirs
from anomalib.models.components import feature_extractors

from rd_plugin import ReverseDistillation
from rd_plugin.convert import convert_anomalib_dinomaly

from .foreign import THRESHOLDS, check_refused, fill, save

BACKBONE = "vit_small_patch14_reg4_dinov2"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """anomalib's model with the smallest teacher that it takes, without a download, and its checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        create = timm.create_model
        patch.setattr(
            feature_extractors.timm.timm,
            "create_model",
            lambda *args, **kw: create(*args, **{**kw, "pretrained": False}),
        )
        pre_processor = Theirs.configure_pre_processor((70, 84), 70)
        model = Theirs(BACKBONE, decoder_depth=2, target_layers=[1, 2], pre_processor=pre_processor)
    fill(model.model.bottleneck)
    fill(model.model.decoder)
    for name, value in THRESHOLDS.items():
        getattr(model.post_processor, name).fill_(value)
    return model.eval(), save(model, tmp_path_factory.mktemp("theirs") / "theirs.ckpt")


def test_networks_and_settings_are_theirs(tmp_path, theirs):
    model, source = theirs
    convert_anomalib_dinomaly(source, tmp_path / "ours.ckpt")
    ours = ReverseDistillation.load_from_checkpoint(tmp_path / "ours.ckpt").eval()
    assert ours.resized_to == [70, 70]
    for name, value in THRESHOLDS.items():
        assert getattr(ours.post_processor, name).item() == value
    images = torch.randn(2, 3, 70, 70, generator=torch.Generator().manual_seed(0))
    network = model.model
    network.fuse_layer_encoder = network.fuse_layer_decoder = [[0], [1]]
    with torch.no_grad():
        expected = network.get_encoder_decoder_outputs(images)
        actual = ours.model.distill(images)
    for one, other in zip((*actual[0], *actual[1]), (*expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_context_recentering": True}, "trained with use_context_recentering True; only False can be used"),
        ({"encoder_name": None}, "hyper_parameters.encoder_name"),
        ({"state_dict": {}}, r"it has no state_dict.model.encoder.feature_extractor.\*"),
    ],
)
def test_files_that_do_not_fit(tmp_path, theirs, change, message):
    content = torch.load(theirs[1], weights_only=False)
    for name, value in change.items():
        place = content if name == "state_dict" else content["hyper_parameters"]
        place[name] = value
        if value is None:
            del place[name]
    torch.save(content, tmp_path / "theirs.ckpt")
    check_refused(convert_anomalib_dinomaly, tmp_path, tmp_path / "theirs.ckpt", message)
