"""From a trained run to a model file with its card, its checksum and a parity report.

The weights are folded, rounded to half precision once, and stored so; both engines compute in
fp32 from the same rounded values. A model that does not agree with PyTorch is not written.
"""

import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from iac_cli.errors import IacError, Word
from iac_cli.infer.card import Role, shipped_models
from iac_cli.locate.keypoints import keypoints
from iac_cli.report.files import told_as_output, write_text
from iac_cli.simulate.heads import HU_WINDOWS as LOCATOR_WINDOWS
from iac_cli.simulate.heads import NEAR
from iac_cli.train.cache import GRID
from iac_cli.train.documents import read_document
from iac_cli.train.locator_net import CHANNELS, Locator, LocatorConfig, folded_locator
from iac_cli.train.networks import fold, make_network, read_config
from iac_cli.train.parity import Parity, check_parity, locator_parity, segmenter_parity
from iac_cli.train.runs import SETTINGS, fill, read_network, read_weights
from iac_cli.train.segmenter import (
    HU_WINDOWS,
    LARGE_WINDOW,
    PRIOR_REACH_MM,
    fitting,
    takes_prior,
)

OPSET = 20
REACH_MM = 7.0
"""Distance from a centre line up to which an answer is used, unless the facts say otherwise. On 16
simulated development patients no true lesion lay farther off, and 16 of 70 false ones did."""

UNCALIBRATED: dict[str, Any] = {
    "threshold": 0.5,
    "lesion_threshold": 0.0,
    "threshold_unbiased_volume": None,
    "thicker_slices": [],
    "calibration": {"method": "platt", "a": 1.0, "b": 0.0},
}
NOT_CALIBRATED = "Not calibrated: its probabilities and its threshold mean nothing yet"

POOR_DICE = 0.3
"""Pooled Dice of the calibration's own figures below which the card warns."""

CALIBRATION = "calibration.json"


@dataclass(frozen=True, slots=True)
class Interface:
    """Names and free axes of an exported network."""

    inputs: str
    outputs: tuple[str, ...]
    example: tuple[int, ...]
    free_axes: dict[int, str]


LOCATOR = Interface(
    "head", ("logits", "absent"), (1, CHANNELS, 48, 56, 56), {2: "z8", 3: "y8", 4: "x8"}
)


def interface_of(network: nn.Module) -> Interface:
    """A segmenter's. Two windows, since the exporter takes a batch of one for a fixed number."""
    channels = len(HU_WINDOWS) + takes_prior(network)
    return Interface("windows", ("logits",), (2, channels, *window_of(network)), {0: "batch"})


def window_of(network: nn.Module) -> tuple[int, int, int]:
    """The window (z, y, x) that a segmenter is exported for."""
    encoder = getattr(network, "encoder", None)
    return LARGE_WINDOW if encoder is None else fitting(LARGE_WINDOW, encoder.config.patch)


def load_network(run: Path) -> nn.Module:
    """The averaged network of a finished run, folded and rounded to half precision.

    Raises: IacError: model_not_found, model_unreadable, model_shape_mismatch.
    """
    config = read_network(run)
    if config["name"] == "mae":
        raise IacError(
            Word.MODEL_SHAPE_MISMATCH,
            "a pre-trained run segments nothing yet",
            way_out="fine-tune it: 'iac-seg train finetune --init RUN'",
        )
    is_locator = config["name"] == "locator"
    network: nn.Module = (
        Locator(LocatorConfig.from_dict(config))
        if is_locator
        else make_network(read_config(config))
    )
    fill(network, read_weights(run))
    merged: nn.Module = folded_locator(network) if isinstance(network, Locator) else fold(network)
    with torch.no_grad():
        for value in merged.state_dict().values():
            value.copy_(value.half().float())
    return merged.eval()


def export_onnx(network: nn.Module, interface: Interface, path: Path, opset: int = OPSET) -> None:
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
            opset_version=opset,
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


def card_of(network: nn.Module, path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The card's machine-read part, from the file itself, joined with `facts`."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    content = path.read_bytes()
    config: Any = network.config
    card: dict[str, Any] = {
        "schema": 1,
        "name": path.stem,
        "role": path.stem,
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "opset": OPSET,
        "ir_version": model.ir_version,
        "architecture": config.to_dict(),
    }
    if isinstance(network, Locator):
        card |= {
            "grid_mm": [network.config.cell_mm] * 3,
            "hu_windows": LOCATOR_WINDOWS,
            "keypoints": [[artery.value, fraction] for artery, fraction in keypoints()],
        }
    else:
        card |= {
            "grid_mm": list(GRID),
            "window": list(window_of(network)),
            "hu_windows": HU_WINDOWS,
        }
        if takes_prior(network):
            card["prior_reach_mm"] = PRIOR_REACH_MM
    return card | facts


def facts_of(run: Path, given: dict[str, Any], *, uncalibrated: bool = False) -> dict[str, Any]:
    """What the card says beside the file's own facts: calibration, training, and what is given.

    Raises: IacError: input_not_found for a segmenter that is not calibrated.
    """
    facts: dict[str, Any] = {"version": "0"}
    if (run / SETTINGS).is_file():
        facts["training"] = read_document(run / SETTINGS)
    if read_network(run)["name"] == "locator":
        return facts | given
    facts["reach_mm"] = REACH_MM
    if (run / CALIBRATION).is_file():
        facts |= read_document(run / CALIBRATION)
    if "threshold" in given:
        facts["thicker_slices"] = []  # unless these are given too
    facts |= given
    dice = facts.get("figures", {}).get("dice_pooled")
    if dice is not None and dice < POOR_DICE:
        poor = f"Not fit for use: pooled Dice {dice:.2f} on what it was calibrated on"
        facts["limits"] = [*facts.get("limits", []), poor]
    if "calibration" in facts and "threshold" in facts:
        return facts
    if not uncalibrated:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "the run is not calibrated",
            way_out="'iac-seg train calibrate RUN --data DEVELOPMENT' first, or --uncalibrated",
        )
    return facts | UNCALIBRATED | {"limits": [*facts.get("limits", []), NOT_CALIBRATED]}


def export_run(run: Path, models: Path, facts: dict[str, Any]) -> Parity:
    """Export a run into a model folder: ONNX, card and parity report, all or nothing.

    A folder without a locator gets the shipped one, so that `segment --model` can use it.

    Raises: IacError: parity_lost, model_not_found, model_unreadable, output_not_writable.
    """
    network = load_network(run)
    name = _role(network)
    with told_as_output(models):
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models, prefix=f".{name}.") as building:
            place = Path(building)
            parity = _build(network, run, place / f"{name}.onnx", facts)
            for file in (f"{name}.onnx", f"{name}.parity.json", f"{name}.json"):
                (place / file).replace(models / file)
    if name == Role.SEGMENTER and not (models / f"{Role.LOCATOR}.json").is_file():
        for role in (Role.LOCATOR, Role.LOCATOR_NEAR):
            for shipped in (shipped_models() / f"{role}{end}" for end in (".onnx", ".json")):
                if shipped.is_file():
                    shutil.copyfile(shipped, models / shipped.name)
    return parity


def _role(network: nn.Module) -> Role:
    if not isinstance(network, Locator):
        return Role.SEGMENTER
    return Role.LOCATOR_NEAR if network.config.cell_mm == NEAR.cell_mm else Role.LOCATOR


def _build(network: nn.Module, run: Path, path: Path, facts: dict[str, Any]) -> Parity:
    interface = LOCATOR if isinstance(network, Locator) else interface_of(network)
    export_onnx(network, interface, path)
    card = card_of(network, path, facts)
    write_text(path.with_suffix(".json"), json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    if isinstance(network, Locator):
        parity = locator_parity(network, path, interface.example)
    else:
        parity = segmenter_parity(network, run, path.parent)
    check_parity(parity)
    report = json.dumps(asdict(parity), indent=1) + "\n"
    write_text(path.with_name(f"{path.stem}.parity.json"), report)
    return parity
