"""VGG-19 and ArcFace against torchvision, ONNX Runtime and a reference written here, on random
weights; which file is taken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gpen_core.errors import CheckpointError, InputError, MissingDependencyError
from gpen_core.perception.arcface import IRSE50, ArcFace, load_arcface, load_recognition
from gpen_core.perception.named import named_file
from gpen_core.perception.vgg19 import PLACES, VGG19, load_vgg19


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(4)) * 2 - 1


# --- VGG-19 --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vgg_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return VGG19(["relu3_1"]).state_dict()


def test_vgg19_is_the_textbooks(vgg_state):
    """Convolutions of 3x3 and ReLUs, halved after two and four; ImageNet's mean and deviation."""
    net = VGG19(["relu1_2", "conv2_1", "relu2_2", "relu3_1"])
    net.load_state_dict(vgg_state)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x = noise(1, 3, 48, 48)

    def conv(x: torch.Tensor, at: int) -> torch.Tensor:
        return F.conv2d(
            x, vgg_state[f"features.{at}.weight"], vgg_state[f"features.{at}.bias"], 1, 1
        )

    relu1_2 = conv(conv(((x + 1) / 2 - mean) / deviation, 0).relu(), 2).relu()
    conv2_1 = conv(F.max_pool2d(relu1_2, 2), 5)
    relu2_2 = conv(conv2_1.relu(), 7).relu()
    relu3_1 = conv(F.max_pool2d(relu2_2, 2), 10).relu()
    for ours, expected in zip(net(x), (relu1_2, conv2_1, relu2_2, relu3_1), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_vgg19_is_torchvisions():
    try:
        from torchvision.models import vgg19
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported here ({error})")
    torch.manual_seed(0)
    theirs = vgg19(weights=None).features.eval()
    kinds = {index: type(layer).__name__ for index, layer in enumerate(theirs)}
    named = {"conv": "Conv2d", "relu": "ReLU", "pool": "MaxPool2d"}
    assert {at: named[name[:4]] for name, at in PLACES.items()} == kinds
    names = ["relu2_2", "relu5_4"]
    ours = VGG19(names)
    ours.features.load_state_dict(theirs.state_dict(), strict=False)
    x = noise(1, 3, 32, 32)
    expected = (x + 1) / 2 - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    expected = expected / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    wanted = []
    for index, layer in enumerate(theirs):
        # Theirs works in place.
        expected = layer(expected.clone())
        if index in (PLACES["relu2_2"], PLACES["relu5_4"]):
            wanted.append(expected)
    for ours_, theirs_ in zip(ours(x), wanted, strict=True):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-4, atol=1e-6)


def test_a_vgg19_is_only_as_deep_as_its_deepest_layer():
    assert len(VGG19(["relu2_2"]).features) == PLACES["relu2_2"] + 1
    with pytest.raises(InputError, match="VGG-19 has no layer 'relu6_1'"):
        VGG19(["relu6_1"])
    with pytest.raises(InputError, match="Name a layer"):
        VGG19([])


def test_torchvisions_file_is_known_by_the_hash_in_its_name(vgg_state, tmp_path):
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save(vgg_state, path)
    with pytest.raises(CheckpointError, match=r"its SHA-256 is \w{64}, not dcbb9e9d\.\.\."):
        load_vgg19(["relu2_2"], path)
    net = load_vgg19(["relu2_2"], path, digest(path))
    assert torch.equal(net.features[7].weight, vgg_state["features.7.weight"])
    assert not any(parameter.requires_grad for parameter in net.parameters())
    with pytest.raises(CheckpointError, match=r"has no 'features.12.weight' of the shape"):
        load_vgg19(["relu3_2"], path, digest(path))


# --- files ---------------------------------------------------------------------------------------


def test_a_file_without_a_known_hash_is_pinned(tmp_path, caplog):
    path = tmp_path / "net.pth"
    path.write_bytes(b"one")
    assert named_file(path, "a network") == path
    assert f"SHA-256 {digest(path)} is pinned" in caplog.text
    assert json.loads((tmp_path / "gpen-pins.json").read_text()) == {"net.pth": digest(path)}
    assert named_file(path, "a network") == path
    path.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="is not a network as expected"):
        named_file(path, "a network")
    assert named_file(path, "a network", digest(path).upper()) == path, "a stated hash decides"


# --- ArcFace -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arcface_file(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    net = IRSE50()
    state = net.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp("arcface") / "model_ir_se50.pth"
    torch.save(state, path)
    return path


def reference(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """IR-SE-50 from its keys alone, one function a layer."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        get = [state[f"{name}.{part}"] for part in ("running_mean", "running_var")]
        return F.batch_norm(x, *get, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)

    x = norm(F.conv2d(x, state["input_layer.0.weight"], padding=1), "input_layer.1")
    x = F.prelu(x, state["input_layer.2.weight"])
    count = len({name.split(".")[1] for name in state if name.startswith("body.")})
    assert count == 24
    for unit in range(count):
        part = f"body.{unit}.res_layer"
        stride = 2 if unit in (0, 3, 7, 21) else 1
        y = F.conv2d(norm(x, f"{part}.0"), state[f"{part}.1.weight"], padding=1)
        y = F.prelu(y, state[f"{part}.2.weight"])
        y = norm(F.conv2d(y, state[f"{part}.3.weight"], stride=stride, padding=1), f"{part}.4")
        gate = F.adaptive_avg_pool2d(y, 1)
        gate = F.conv2d(gate, state[f"{part}.5.fc1.weight"]).relu()
        y = y * F.conv2d(gate, state[f"{part}.5.fc2.weight"]).sigmoid()
        short = f"body.{unit}.shortcut_layer"
        if f"{short}.0.weight" in state:
            x = norm(F.conv2d(x, state[f"{short}.0.weight"], stride=stride), f"{short}.1")
        else:
            x = x[..., ::stride, ::stride]
        x = x + y
    x = norm(x, "output_layer.0").flatten(1)
    x = F.linear(x, state["output_layer.3.weight"], state["output_layer.3.bias"])
    return F.normalize(norm(x, "output_layer.4"), dim=1)


def test_irse50_is_the_reference_on_the_aligned_face(arcface_file):
    net = load_arcface(arcface_file)
    faces = noise(2, 3, 168, 168)
    # The GPEN template is ArcFace's crop with a quarter of its side around it: 28 px of 168.
    expected = reference(torch.load(arcface_file), faces[..., 28:140, 28:140])
    torch.testing.assert_close(net(faces), expected, rtol=0, atol=1e-4)


def test_a_gradient_flows_through_it(arcface_file):
    faces = noise(1, 3, 64, 64).requires_grad_(True)
    load_arcface(arcface_file)(faces)[0, 0].backward()
    assert faces.grad is not None and float(faces.grad.abs().sum()) > 0


def test_a_graph_gives_what_onnx_runtime_gives_and_a_gradient(tmp_path, recognition_graph):
    path = recognition_graph(tmp_path / "arcface.onnx")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    faces = noise(2, 3, 168, 168).requires_grad_(True)
    ours = load_arcface(path)(faces)
    session = runtime.InferenceSession(str(path))
    [theirs] = session.run(None, {"x": faces.detach()[..., 28:140, 28:140].numpy()})
    torch.testing.assert_close(ours, F.normalize(torch.from_numpy(theirs)), rtol=1e-4, atol=1e-5)
    ours[0, 0].backward()
    assert float(faces.grad.abs().sum()) > 0


def test_an_operator_that_is_not_known_is_named(tmp_path, recognition_graph):
    path = recognition_graph(tmp_path / "arcface.onnx", operator="Tanh")
    with pytest.raises(CheckpointError, match="uses the operator 'Tanh'"):
        load_arcface(path)


def test_what_is_no_recognition_network_is_refused(tmp_path, vgg_state):
    path = tmp_path / "other.pth"
    torch.save(vgg_state, path)
    with pytest.raises(CheckpointError, match="it is another network"):
        load_arcface(path)
    with pytest.raises(InputError, match="not a vector for each"):
        ArcFace(torch.nn.Identity())(noise(1, 3, 64, 64))
    with pytest.raises((CheckpointError, MissingDependencyError), match="is not named"):
        load_arcface(None)


def changed_graph(path: Path, change) -> Path:
    onnx = pytest.importorskip("onnx", reason="onnx, of gpen[onnx], is not installed")
    model = onnx.load(path)
    change(model.graph, onnx)
    path.write_bytes(model.SerializeToString())
    return path


def without_a_vector(graph, onnx) -> None:
    """Features in the place of the vector."""
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("c", 1, ["n", 8, 56, 56]))


def of_another_side(graph, onnx) -> None:
    graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("x", 1, ["n", 3, 224, 224]))


def the_same_for_all(graph, onnx) -> None:
    weights = {one.name: one for one in graph.initializer}
    zeros = torch.zeros(16, 8).numpy()
    weights["dense"].CopyFrom(onnx.numpy_helper.from_array(zeros, "dense"))


def enormous(graph, onnx) -> None:
    """A picture padded to a side of 100,000 pixels."""
    [pads] = [one for one in graph.node[0].attribute if one.name == "pads"]
    pads.ints[:] = [50_000] * 4


REFUSED = {
    "no vector": (without_a_vector, r"gives its output 'c' as \[1, 8, 56, 56\]"),
    "another side": (of_another_side, "takes pictures of 224 px, where faces of 112 px are given"),
    "tells nobody apart": (the_same_for_all, "told apart"),
    "enormous": (enormous, "far beyond a face"),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_a_graph_that_is_no_recognition_network_is_refused(
    change, said, tmp_path, recognition_graph
):
    path = changed_graph(recognition_graph(tmp_path / "other.onnx"), change)
    with pytest.raises(CheckpointError, match=f"other.onnx.* no face recognition network.*{said}"):
        load_recognition(path)


def test_a_graph_that_normalizes_its_input_is_given_bytes(tmp_path, recognition_graph):
    """The ONNX zoo's ArcFace takes 0..255, others -1..1; nothing but the graph says so."""
    plain = load_recognition(recognition_graph(tmp_path / "plain.onnx"))

    def normalize(graph, onnx) -> None:
        constant, node = onnx.numpy_helper.from_array, onnx.helper.make_node
        values = {"middle": 127.5, "scale_of_bytes": 1 / 127.5}
        for name, value in values.items():
            graph.initializer.append(constant(torch.tensor(value).numpy(), name))
        graph.node[0].input[0] = "scaled"
        graph.node.insert(0, node("Mul", ["shifted", "scale_of_bytes"], ["scaled"]))
        graph.node.insert(0, node("Sub", ["x", "middle"], ["shifted"]))

    path = changed_graph(recognition_graph(tmp_path / "bytes.onnx"), normalize)
    faces = noise(2, 3, 168, 168)
    torch.testing.assert_close(load_recognition(path)(faces), plain(faces), rtol=0, atol=1e-5)
