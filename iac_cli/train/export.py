"""From a trained run to a model file with its card.

    python -m iac_cli.train.export segmenter RUN -o models --version 1.0

The weights are folded, rounded to half precision once, and stored so; both engines compute in
fp32 from the same rounded values. A parity check against PyTorch is part of every export.
"""

import argparse
import hashlib
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from iac_cli.locate.keypoints import keypoints
from iac_cli.settings import silence_telemetry
from iac_cli.simulate.heads import GRID_MM
from iac_cli.simulate.heads import HU_WINDOWS as LOCATOR_WINDOWS
from iac_cli.train.hybrid import Hybrid, HybridConfig, folded
from iac_cli.train.locator_net import CHANNELS, Locator, LocatorConfig, folded_locator
from iac_cli.train.segmenter import HU_WINDOWS, LARGE_WINDOW

OPSET = 20
PARITY = 1e-4
"""Largest difference of ONNX Runtime's logits from PyTorch's on the CPU, over their scale."""

GRID = (1.0, 0.44, 0.44)


@dataclass(frozen=True, slots=True)
class Interface:
    """Names and free axes of an exported network."""

    inputs: str
    outputs: tuple[str, ...]
    example: tuple[int, ...]
    free_axes: dict[int, str]


SEGMENTER = Interface("windows", ("logits",), (2, 2, *LARGE_WINDOW), {0: "batch"})
LOCATOR = Interface(
    "head", ("logits", "absent"), (1, CHANNELS, 48, 56, 56), {2: "z8", 3: "y8", 4: "x8"}
)


def load_network(run: Path) -> Hybrid | Locator:
    """The averaged network of a finished run, folded and rounded to half precision."""
    from safetensors.torch import load_file

    config = json.loads((run / "network.json").read_text(encoding="utf-8"))
    network: Hybrid | Locator
    if config["name"] == "hybrid":
        network = Hybrid(HybridConfig.from_dict(config))
    else:
        network = Locator(LocatorConfig.from_dict(config))
    weights = load_file(run / "network.safetensors")
    network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    )
    merged = folded(network) if isinstance(network, Hybrid) else folded_locator(network)
    with torch.no_grad():
        for value in merged.state_dict().values():
            value.copy_(value.half().float())
    return merged.eval()


def export_onnx(network: nn.Module, interface: Interface, path: Path) -> None:
    """Write one ONNX file whose initialisers are the half-precision weights by state-dict name."""
    import onnx

    partial = path.with_suffix(".partial")
    example = torch.zeros(interface.example)
    axes = {
        axis: 8 * torch.export.Dim(name, min=1) if name.endswith("8") else torch.export.Dim(name)
        for axis, name in interface.free_axes.items()
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            opset_version=OPSET,
            dynamo=True,
            input_names=[interface.inputs],
            output_names=list(interface.outputs),
            dynamic_shapes=(axes,),
            verbose=False,
        )
    model = program.model_proto  # type: ignore[union-attr]
    halve(model, network.state_dict())
    onnx.checker.check_model(model)
    onnx.save(model, str(partial))
    partial.replace(path)


def halve(model: Any, weights: dict[str, Tensor]) -> None:
    """Replace the weights among a model's initialisers by fp16 ones with a Cast behind each.

    The exporter stores some matrices transposed under names of its own; those get their name
    and orientation back, and a Transpose behind the Cast.

    Raises:
        ValueError: a weight of the network is not among the initialisers.

    """
    from onnx import TensorProto, helper, numpy_helper

    stored = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    new_nodes, renamed = [], {}
    for name, weight in weights.items():
        value = weight.numpy()
        old = _stored_as(stored, name, value)
        new_nodes.append(helper.make_node("Cast", [name], [f"{name}.fp32"], to=TensorProto.FLOAT))
        renamed[old] = f"{name}.fp32"
        if value.ndim == 2 and not np.array_equal(stored[old], value):
            new_nodes.append(
                helper.make_node("Transpose", [f"{name}.fp32"], [f"{name}.turned"], perm=[1, 0])
            )
            renamed[old] = f"{name}.turned"
    kept = [entry for entry in model.graph.initializer if entry.name not in renamed]
    halves = [numpy_helper.from_array(v.numpy().astype(np.float16), k) for k, v in weights.items()]
    _replace(model.graph.initializer, kept + halves)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    _replace(model.graph.node, new_nodes + list(model.graph.node))
    _replace(model.graph.value_info, [v for v in model.graph.value_info if v.name not in renamed])


def _replace(field: Any, entries: list[Any]) -> None:
    del field[:]
    field.extend(entries)


def _stored_as(stored: dict[str, Any], name: str, value: Any) -> str:
    """The initialiser that holds a weight: its own, one of equal content, or its transpose.

    The exporter keeps one of several initialisers of equal content.
    """
    if name in stored and stored[name].shape == value.shape:
        return name
    for other, array in stored.items():
        if array.shape == value.shape and np.array_equal(array, value):
            return other
    for other, array in stored.items():
        if value.ndim == 2 and array.shape == value.T.shape and np.array_equal(array, value.T):
            return other
    raise ValueError(f"the exporter did not keep {name}")


def parity(network: nn.Module, interface: Interface, path: Path) -> float:
    """Largest difference of the exported model's outputs from PyTorch's, over their scale."""
    silence_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    inputs = torch.rand(interface.example, generator=torch.Generator().manual_seed(1)) * 2.0 - 1.0
    with torch.inference_mode():
        wanted = network(inputs)
    got = session.run(None, {interface.inputs: inputs.numpy()})
    pairs = zip(got, wanted if isinstance(wanted, tuple) else (wanted,), strict=True)
    return max(
        float(np.abs(mine - theirs.numpy()).max() / max(1.0, float(theirs.abs().max())))
        for mine, theirs in pairs
    )


def card_of(network: Hybrid | Locator, path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The card's machine-read part, from the file itself, joined with `facts`."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    content = path.read_bytes()
    is_segmenter = isinstance(network, Hybrid)
    card: dict[str, Any] = {
        "schema": 1,
        "name": path.stem,
        "role": path.stem,
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "opset": OPSET,
        "ir_version": model.ir_version,
        "architecture": network.config.to_dict(),
    }
    if is_segmenter:
        card |= {"grid_mm": list(GRID), "window": list(LARGE_WINDOW), "hu_windows": HU_WINDOWS}
    else:
        card |= {
            "grid_mm": [GRID_MM] * 3,
            "hu_windows": LOCATOR_WINDOWS,
            "keypoints": [[artery.value, fraction] for artery, fraction in keypoints()],
        }
    return card | facts


def export_run(run: Path, models: Path, facts: dict[str, Any]) -> float:
    """Export a run into a model folder; returns the parity figure.

    Raises:
        ValueError: the exported model does not agree with PyTorch.

    """
    network = load_network(run)
    is_segmenter = isinstance(network, Hybrid)
    interface = SEGMENTER if is_segmenter else LOCATOR
    models.mkdir(parents=True, exist_ok=True)
    path = models / ("segmenter.onnx" if is_segmenter else "locator.onnx")
    export_onnx(network, interface, path)
    difference = parity(network, interface, path)
    if difference > PARITY:
        raise ValueError(f"ONNX Runtime and PyTorch differ by {difference:.2g}")
    card = card_of(network, path, facts)
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    path.with_suffix(".json").write_text(text, encoding="utf-8")
    return difference


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--models", type=Path, required=True)
    parser.add_argument("--facts", type=Path, help="JSON with the card's other fields")
    chosen = parser.parse_args()
    facts = json.loads(chosen.facts.read_text(encoding="utf-8")) if chosen.facts else {}
    difference = export_run(chosen.run, chosen.models, facts)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger(__name__).info("exported; largest relative difference %.2g", difference)


if __name__ == "__main__":
    main()
