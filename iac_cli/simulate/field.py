"""A skull as tensors: its volumes sampled anywhere, and the nearest point of its arteries.

Positions are (z, y, x) in mm of the cached skull. The nearest point is looked up in a coarse volume
of indices; the offset to that point is then exact.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.skull import Skull, densify

INDEX_STEP_MM = 0.75
"""Grid of the nearest-artery-point volume; the offset to that point is then exact."""

ARTERY_SHARE = {"ICA": 0.52, "M1": 0.12, "A1": 0.05, "P1": 0.05, "V4": 0.17, "BA": 0.09}
"""How often a window is centred on each kind of artery."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A skull as tensors: sampled volumes and the dense points of its artery lines."""

    volumes: Tensor  # (1, 3, Z, Y, X): HU, real calcification, counts neither way
    spacing: Tensor  # (3,)
    nearest: Tensor  # (1, 1, Z', Y', X') index of the nearest dense point, as float
    point: Tensor  # (p, 3)
    tangent: Tensor  # (p, 3)
    across: Tensor  # (p, 3), and the third direction is tangent x across
    radius: Tensor  # (p,)
    arc: Tensor  # (p,)
    line: Tensor  # (p,) index of the line
    share: Tensor  # (p,) probability of a window being centred here
    has_labels: bool


def _frames(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tangent and one perpendicular direction at each point of a line, both (k, 3)."""
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True).clip(1e-9)
    across = np.zeros_like(tangent)
    previous = np.cross(tangent[0], [1.0, 0.3, 0.2])
    for i, direction in enumerate(tangent):  # carried along, so that angles do not jump
        carried = previous - direction * (previous @ direction)
        across[i] = previous = carried / np.linalg.norm(carried)
    return tangent, across


def _nearest_index(skull: Skull, dense: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    extent = np.array(skull.hu.shape) * skull.spacing_mm
    axes = [np.arange(0.0, size, INDEX_STEP_MM) for size in extent]
    where = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    _, index = cKDTree(dense).query(where.reshape(-1, 3), workers=-1)
    return np.asarray(index.reshape(where.shape[:3]))


def make_field(skull: Skull, device: torch.device) -> Field:
    """Put a skull on a device; its nearest-point volume is computed here."""
    lines = {artery: densify(line, 0.25) for artery, line in skull.lines.items()}
    frames = [_frames(line[:, :3]) for line in lines.values()]
    dense = np.concatenate(list(lines.values()))
    share = np.concatenate([np.full(len(v), _share(a) / len(v)) for a, v in lines.items()])
    labels = skull.labels if skull.labels is not None else np.zeros(skull.hu.shape, np.uint8)
    volumes = np.stack([skull.hu.astype(np.float32), labels == 1, labels == 2])

    def put(array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32, device=device)

    return Field(
        volumes=put(volumes)[None],
        spacing=put(skull.spacing_mm),
        nearest=put(_nearest_index(skull, dense[:, :3]))[None, None],
        point=put(dense[:, :3]),
        tangent=put(np.concatenate([f[0] for f in frames])),
        across=put(np.concatenate([f[1] for f in frames])),
        radius=put(dense[:, 3]),
        arc=put(np.concatenate([np.arange(len(v)) * 0.25 for v in lines.values()])),
        line=put(np.concatenate([np.full(len(v), i) for i, v in enumerate(lines.values())])),
        share=put(share / share.sum()),
        has_labels=skull.labels is not None,
    )


def _share(artery: Artery) -> float:
    return ARTERY_SHARE[artery.value.partition("-")[0]]


def sample(head: Field, where: Tensor) -> Tensor:
    """The head's volumes at source positions (b, f, y, x, 3) mm: (b, 3, f, y, x)."""
    b, f, y, x, _ = where.shape
    size = torch.tensor(head.volumes.shape[2:], device=where.device)
    grid = (2.0 * where / head.spacing / (size - 1) - 1.0).flip(-1)
    flat = grid.reshape(1, b * f, y, x, 3)
    n_volumes = 3 if head.has_labels else 1
    sampled = functional.grid_sample(
        head.volumes[:, :n_volumes],
        flat,
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    sampled = sampled.reshape(n_volumes, b, f, y, x).transpose(0, 1)
    if head.has_labels:
        return sampled
    return torch.cat([sampled, torch.zeros(b, 2, f, y, x, device=where.device)], dim=1)


def nearest_point(head: Field, where: Tensor) -> Tensor:
    """Index of the nearest dense artery point at source positions: (b, f, y, x) long."""
    size = torch.tensor(head.nearest.shape[2:], device=where.device)
    cell = (where / INDEX_STEP_MM).round().long()
    cell = torch.minimum(cell.clamp(min=0), size - 1)
    flat = (cell[..., 0] * size[1] + cell[..., 1]) * size[2] + cell[..., 2]
    return head.nearest.flatten()[flat].long()


def distance_to_artery(head: Field, where: Tensor) -> Tensor:
    """Distance of source positions (..., 3) from the nearest centre line, mm."""
    return (where - head.point[nearest_point(head, where)]).square().sum(-1).sqrt()
