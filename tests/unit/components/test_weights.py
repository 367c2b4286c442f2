# SPDX-License-Identifier: Apache-2.0
"""Where the teacher's weights come from."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rd_plugin.components import Teacher
from rd_plugin.models import ReverseDistillationModel

from ..convert.foreign import Intruder

BACKBONE = "resnet18"
State = dict[str, Tensor]


def network(backbone: str = BACKBONE) -> nn.Module:
    """A timm network with weights and statistics that differ from those of any other."""
    net = timm.create_model(backbone, pretrained=False).eval()
    for tensor in net.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor += 0.2 * torch.rand_like(tensor)
    return net


def features_of(net: nn.Module, layers: tuple[str, ...], images: Tensor) -> list[Tensor]:
    """Outputs of a whole network's stages, taken by hooks."""
    features: list[Tensor] = []
    hooks = [
        net.get_submodule(layer).register_forward_hook(lambda _module, _args, output: features.append(output))
        for layer in layers
    ]
    with torch.no_grad():
        net(images)
    for hook in hooks:
        hook.remove()
    return features


def check(teacher: Teacher, net: nn.Module) -> None:
    """The teacher's features are those of the network."""
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(teacher(images), features_of(net, teacher.pyramid.distilled, images))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(1)
    return network()


@pytest.fixture
def state(net: nn.Module) -> State:
    return net.state_dict()


def without_classifier(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def with_ten_classes(state: State) -> State:
    return {**state, "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}


def without_counters(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def from_data_parallel(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def renamed(state: State) -> State:
    return {f"module{index}.{name.rpartition('.')[2]}": tensor for index, (name, tensor) in enumerate(state.items())}


FORMS: dict[str, Callable[[State], object]] = {
    "timm's names": dict,
    "without classifier": without_classifier,
    "with ten classes": with_ten_classes,
    "without counters": without_counters,
    "without classifier, from data parallel": lambda state: from_data_parallel(without_classifier(state)),
    "wrapped": lambda state: {"epoch": 3, "state_dict": from_data_parallel(state)},
    "wrapped model": lambda state: {"model": dict(state), "optimizer": {"lr": 0.1}},
    "other names, same order": renamed,
    "other names, same order, without counters": lambda state: renamed(without_counters(state)),
}


@pytest.mark.parametrize("form", FORMS)
def test_file(form: str, net: nn.Module, state: State, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(FORMS[form](state), path)
    check(Teacher(BACKBONE, pre_trained=path), net)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_other_suffixes(suffix: str, net: nn.Module, state: State, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    check(Teacher(BACKBONE, pre_trained=str(path)), net)


# In these, features_only wraps or renames the network's modules.
@pytest.mark.parametrize("backbone", ["convnext_atto", "regnety_002", "mobilenetv3_small_100"])
@pytest.mark.parametrize("form", ["timm's names", "other names, same order"])
def test_other_backbones(backbone: str, form: str, tmp_path: Path) -> None:
    net = network(backbone)
    torch.save(FORMS[form](net.state_dict()), tmp_path / "weights.pth")
    check(Teacher(backbone, pre_trained=tmp_path / "weights.pth"), net)


def test_with_embedding_and_chosen_layers(net: nn.Module, state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pth")
    teacher = Teacher(BACKBONE, ["layer2"], tmp_path / "weights.pth", with_embedding=True)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(teacher(images), features_of(net, ("layer2", "layer3"), images))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "packages" / "some_teacher"
    (folder / "files").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder.parent)
    return folder


@pytest.mark.parametrize("name", ["some_teacher", "some-teacher"])
def test_package(name: str, package: Path, net: nn.Module, state: State) -> None:
    torch.save(state, package / "files" / "weights.pth")
    check(Teacher(BACKBONE, pre_trained=name), net)


@pytest.mark.parametrize("files", [[], ["a.pth", "b.safetensors"]])
def test_package_without_exactly_one_file(files: list[str], package: Path) -> None:
    for file in files:
        (package / "files" / file).touch()
    listed = ".*".join(map(re.escape, files)) or "none"
    with pytest.raises(FileNotFoundError, match=rf"'some_teacher'.*one weights file, found .*{listed}.*path"):
        Teacher(BACKBONE, pre_trained="some_teacher").load_pretrained()


@pytest.mark.parametrize("source", ["no/such/file.pth", "no_such_package", "nosuch.safetensors"])
def test_nothing_there(source: str) -> None:
    message = rf"pre_trained '{re.escape(source)}' is neither a file nor an installed package.*Accepted: true, false"
    with pytest.raises(FileNotFoundError, match=message):
        Teacher(BACKBONE, pre_trained=source).load_pretrained()


def other_shape(state: State) -> State:
    return {**state, "layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)}


def cut_short(state: State) -> State:
    return dict(list(state.items())[:-2])


BAD_FORMS: dict[str, tuple[Callable[[State], object], str]] = {
    "one shape": (other_shape, r"layer2.0.conv1.weight has shape \(128, 64, 1, 1\), expected \(128, 64, 3, 3\)"),
    "one shape, other names": (
        lambda state: renamed(other_shape(state)),
        r"module\d+.weight has shape \(128, 64, 1, 1\) where layer2.0.conv1.weight has \(128, 64, 3, 3\)",
    ),
    "too few": (lambda state: renamed(cut_short(state)), r"it has 100 tensors, expected 102"),
    "too many": (lambda state: {**renamed(state), "more": torch.zeros(1)}, r"it has 103 tensors, expected 102"),
}


@pytest.mark.parametrize("form", BAD_FORMS)
def test_weights_of_another_network(form: str, state: State, tmp_path: Path) -> None:
    make, message = BAD_FORMS[form]
    torch.save(make(state), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=rf"pre_trained .*weights.pth' does not fit backbone 'resnet18'.*{message}"):
        Teacher(BACKBONE, pre_trained=tmp_path / "weights.pth").load_pretrained()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".txt"])
def test_file_that_holds_no_weights(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_text("not weights")
    with pytest.raises(ValueError, match=rf"weights{suffix} could not be read as weights"):
        Teacher(BACKBONE, pre_trained=path).load_pretrained()


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [torch.zeros(1)], {"epoch": 3}])
def test_file_without_named_tensors(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights.pth contains no named tensors; expected a state dict"):
        Teacher(BACKBONE, pre_trained=tmp_path / "weights.pth").load_pretrained()


def test_code_in_a_file_is_not_run(state: State, tmp_path: Path) -> None:
    torch.save({**state, "code": Intruder(tmp_path / "marker")}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"no pickled code\): .* it holds io\.open, .* is never loaded\.$"):
        Teacher(BACKBONE, pre_trained=tmp_path / "weights.pth").load_pretrained()
    assert not (tmp_path / "marker").exists()


def test_file_is_read_once_and_only_when_needed(net: nn.Module, state: State, tmp_path: Path) -> None:
    teacher = Teacher(BACKBONE, pre_trained=tmp_path / "weights.pth")
    torch.save(state, tmp_path / "weights.pth")
    teacher.load_pretrained()
    (tmp_path / "weights.pth").unlink()
    check(teacher, net)


def test_state_dict_without_the_teacher_leaves_the_file_necessary(net: nn.Module, state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pth")
    model = ReverseDistillationModel(BACKBONE, pre_trained=tmp_path / "weights.pth")
    others = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("teacher.")}
    model.load_state_dict(others, strict=False)
    check(model.teacher, net)


def test_trainable_after_weights_were_read_in_inference_mode(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pth")
    model = ReverseDistillationModel(BACKBONE, pre_trained=tmp_path / "weights.pth")
    with torch.inference_mode():
        model.eval()(torch.randn(1, 3, 32, 32))
    teacher, student = model.train()(torch.randn(2, 3, 32, 32))
    (teacher[0] * student[0]).sum().backward()
    assert all(parameter.grad is not None for parameter in model.student.parameters() if parameter.requires_grad)


def test_download(net: nn.Module, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rd_plugin.components.teacher.hub_source", lambda _: {})
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(state))
    check(Teacher(BACKBONE), net)


def test_failed_download_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        msg = "no route to host"
        raise OSError(msg)

    monkeypatch.setattr("rd_plugin.components.teacher.hub_source", lambda _: {})
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    teacher = Teacher(BACKBONE)
    with pytest.raises(ConnectionError, match=r"'resnet18' could not be downloaded \(no route to host\).*pre_trained"):
        teacher.load_pretrained()
