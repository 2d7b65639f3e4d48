"""Networks of a few weights, made for the tests in exactly the layout of the shipped ones."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10
WINDOW = (8, 24, 24)
HU_WINDOWS = ((-200.0, 1500.0), (0.0, 300.0))
LOCATOR_HU_WINDOWS = ((-1000.0, 1500.0), (-50.0, 150.0))

Keypoint = tuple[str, float]

ICA = tuple(i / 8 for i in range(9))


def hu_segmenter(folder: Path, *, centre_hu: float = 200.0, **card: Any) -> Path:
    """A segmenter whose logit is (HU - centre_hu) / 50 up to 1500 HU: probability 0.5 at centre."""
    slope, offset = 850.0 / 50.0, (650.0 - centre_hu) / 50.0
    weight = np.array([slope, 0.0], np.float16).reshape(1, 2, 1, 1, 1)
    return _segmenter(folder, weight, np.array([offset], np.float16), **card)


def random_segmenter(folder: Path, seed: int = 0, **card: Any) -> Path:
    """A segmenter that looks at a voxel's 3 x 3 x 3 neighbours with random weights."""
    weight = np.random.default_rng(seed).normal(size=(1, 2, 3, 3, 3)).astype(np.float16)
    return _segmenter(folder, weight, np.zeros(1, np.float16), **card)


def distance_segmenter(folder: Path, reach_mm: float) -> Path:
    """A segmenter that takes the prior and answers it: logit -4 on a line, 4 from the reach on."""
    weight = np.array([0.0, 0.0, 4.0], np.float16).reshape(1, 3, 1, 1, 1)
    return _segmenter(folder, weight, np.zeros(1, np.float16), prior_reach_mm=reach_mm)


def _segmenter(folder: Path, weight: np.ndarray, bias: np.ndarray, **card: Any) -> Path:
    window = card.get("window", WINDOW)
    nodes = [
        helper.make_node("Cast", ["weight"], ["weight32"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["bias"], ["bias32"], to=TensorProto.FLOAT),
        helper.make_node(
            "Conv",
            ["windows", "weight32", "bias32"],
            ["logits"],
            kernel_shape=list(weight.shape[2:]),
            pads=[k // 2 for k in weight.shape[2:]] * 2,
        ),
    ]
    taken = ["n", weight.shape[1], *window]
    inputs = [helper.make_tensor_value_info("windows", TensorProto.FLOAT, taken)]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, *window])]
    stored = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(bias, "bias"),
    ]
    graph = helper.make_graph(nodes, "segmenter", inputs, outputs, stored)
    values = {
        "grid_mm": [1.0, 0.44, 0.44],
        "window": list(WINDOW),
        "hu_windows": [list(pair) for pair in HU_WINDOWS],
        "threshold": 0.5,
        "threshold_unbiased_volume": None,
        "calibration": {"method": "platt", "a": 1.0, "b": 0.0},
        "reach_mm": 6.0,
        "architecture": {"name": "tiny"},
    }
    return _write(folder, "segmenter", graph, values | card)


def place_locator(
    folder: Path,
    keypoints: Sequence[Keypoint],
    places_mm: np.ndarray,
    absent: Sequence[float] | None = None,
    *,
    role: str = "locator",
    cell_mm: float = 4.0,
) -> Path:
    """A locator that puts each key point at a fixed place (K, 3) from the head's centre of mass.

    Places are mm along slice normal, column axis and row axis. Each map is a parabola of the
    coordinate channels, so its maximum is the place itself.
    """
    sharpness = 40.0 / (4.0 / 100.0) ** 2 / 10.0
    target = np.asarray(places_mm, np.float64) / 100.0
    n = len(keypoints)
    weight = np.zeros((n, 6, 1, 1, 1), np.float32)
    weight[:, :3, 0, 0, 0] = 2 * sharpness * target
    weight[:, 3:, 0, 0, 0] = -sharpness
    bias = (-sharpness * (target**2).sum(axis=1)).astype(np.float32)
    nowhere = np.full(n, -40.0) if absent is None else np.asarray(absent)
    nodes = [
        helper.make_node("Slice", ["head", "from", "to", "axis"], ["coordinates"]),
        helper.make_node("Mul", ["coordinates", "coordinates"], ["squares"]),
        helper.make_node("Concat", ["coordinates", "squares"], ["features"], axis=1),
        helper.make_node(
            "Conv", ["features", "weight", "bias"], ["logits"], kernel_shape=[1, 1, 1]
        ),
        helper.make_node("ReduceMean", ["logits", "space"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "nowhere"], ["absent"]),
    ]
    head = helper.make_tensor_value_info("head", TensorProto.FLOAT, [1, 5, "z", "y", "x"])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, n, "z", "y", "x"]),
        helper.make_tensor_value_info("absent", TensorProto.FLOAT, [1, n]),
    ]
    constants = {
        "from": np.array([2]),
        "to": np.array([5]),
        "axis": np.array([1]),
        "space": np.array([2, 3, 4]),
        "weight": weight,
        "bias": bias,
        "zero": np.zeros(1, np.float32),
        "nowhere": nowhere.astype(np.float32)[None],
    }
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "locator", [head], outputs, stored)
    values = {
        "grid_mm": [cell_mm] * 3,
        "hu_windows": [list(pair) for pair in LOCATOR_HU_WINDOWS],
        "keypoints": [[artery, fraction] for artery, fraction in keypoints],
        "architecture": {"name": "tiny"},
    }
    return _write(folder, role, graph, values)


def _write(folder: Path, role: str, graph: onnx.GraphProto, values: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    (folder / f"{role}.onnx").write_bytes(data)
    card = {
        "schema": 1,
        "name": role,
        "version": "0.0.1",
        "role": role,
        "file": f"{role}.onnx",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "license": "Apache-2.0",
        "training_data": [],
        "limits": [],
        "figures": {},
    }
    (folder / f"{role}.json").write_text(json.dumps(card | values), encoding="utf-8")
    return folder


def rewrite_card(folder: Path, role: str, /, **changes: Any) -> None:
    """Change fields of a card; None takes a field away."""
    path = folder / f"{role}.json"
    card = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in card.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")
