"""A tiny network and a tiny case, made on the spot, to prove that a device and the models work."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protocol buffer field."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def _integer(number: int, value: int) -> bytes:
    return bytes([number << 3, value])


def tiny_network() -> bytes:
    """An ONNX file that answers x * x + x for x of one number, written byte by byte."""

    def node(operator: bytes, inputs: list[bytes], output: bytes) -> bytes:
        names = b"".join(_field(1, name) for name in inputs)
        return _field(1, names + _field(2, output) + _field(4, operator))

    def value(name: bytes) -> bytes:
        shape = _field(2, _field(1, _integer(1, 1)))  # one dimension of length 1
        return _field(1, name) + _field(2, _field(1, _integer(1, 1) + shape))  # float

    graph = node(b"Mul", [b"x", b"x"], b"squared") + node(b"Add", [b"squared", b"x"], b"y")
    graph += _field(2, b"tiny") + _field(11, value(b"x")) + _field(12, value(b"y"))
    return _integer(1, 8) + _field(7, graph) + _field(8, _integer(2, 17))


def run_tiny_network(device: str) -> str:
    """Run it on `cpu` or `cuda` and say which provider really did.

    Raises:
        IacError: runtime_missing, provider_fell_back, gpu_libraries_missing.

    """
    from iac_cli.infer.device import parse_device
    from iac_cli.infer.onnx_engine import open_bytes

    session, provider = open_bytes(tiny_network(), parse_device(device))
    answer = session.run(None, {"x": np.array([3.0], dtype=np.float32)})[0]
    if answer.tolist() != [12.0]:
        raise IacError(
            Word.DEVICE_UNAVAILABLE,
            f"{provider} answers wrongly: {answer.tolist()} for [12.0]",
            way_out="give --device cpu; reinstall the GPU libraries",
        )
    return str(provider)


@dataclass(frozen=True, slots=True, eq=False)
class TinyHead:
    """A head of three ellipsoids with one line that stands for an artery."""

    volume: Volume
    lines: Mapping[Artery, CentreLine]

    @property
    def counted_lines(self) -> tuple[CentreLine, ...]:
        """All of its line."""
        return tuple(self.lines.values())


def tiny_head() -> TinyHead:
    """Scalp, skull and brain at 4 x 2 x 2 mm, with one bright dot beside a line."""
    grid = Grid.regular((40, 110, 80), spacing_mm=(4.0, 2.0, 2.0), origin_mm=(-79, -109, -78))
    axes = [
        offset + step * np.arange(n)
        for n, step, offset in zip(grid.shape, (4.0, 2.0, 2.0), (-78.0, -109.0, -79.0), strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    hu = np.full(grid.shape, -1000.0, dtype=np.float32)
    for (a, b, c), value in (
        ((76, 92, 66), 40.0),
        ((70, 86, 60), 1000.0),
        ((64, 80, 54), 35.0),
    ):
        hu[(z / a) ** 2 + (y / b) ** 2 + (x / c) ** 2 <= 1.0] = value
    hu[19:21, 50:52, 45:47] = 500.0
    points = grid.to_world([[18, 51, 44], [21, 51, 44]])
    line = CentreLine(Artery.ICA_L, points, np.full(2, 2.0))
    return TinyHead(Volume(hu, grid), {Artery.ICA_L: line})
