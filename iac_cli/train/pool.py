"""Windows to train on, drawn from a stream that makes them or from a cache of real scans.

Both give the same thing, mirrored and with gain and noise of their own, and both can be put into a
checkpoint: a draw that follows is the same whether or not the run was cut in between.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from iac_cli.errors import IacError, Word
from iac_cli.simulate.stream import WindowStream
from iac_cli.train.world import World

DISTANCE_STEPS = 8
"""Distances of windows at rest are whole eighths of a mm, in a byte."""

USES = 3
"""How many steps one made window serves; so many draws pass between two fresh batches."""

Sides = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A training batch, all (b, z, y, x)."""

    hu: Tensor
    label: Tensor
    """1.0 where calcification is drawn."""
    weight: Tensor
    """1.0 where the label counts."""
    distance_mm: Tensor
    """To the nearest artery."""


def volumes_of(batch: Drawn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Its four volumes."""
    return batch.hu, batch.label, batch.weight, batch.distance_mm


class WindowSource(Protocol):
    """What a training draws from."""

    def draw(self, n: int) -> Drawn:
        """The next batch of `n` windows."""

    def state_dict(self) -> dict[str, Any]:
        """All that the next draws depend on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be as then."""


class WindowPool:
    """A ring of made windows from which every step draws; fresh ones replace the oldest.

    A checkpoint holds the stream's random state at which each batch was made, not the windows: they
    are made again.
    """

    def __init__(
        self, stream: WindowStream, window: Sides, size: int, made: int, seed: int = 1
    ) -> None:
        """`made` windows are made at a time, of which `size` is a multiple."""
        self.stream, self.window, self.made = stream, window, made
        self.size = -(-size // made) * made
        self.oldest = self.draws = 0
        shape = (self.size, *window)
        device = stream.device
        self.random = torch.Generator(device=device).manual_seed(seed)
        self.hu = torch.empty(shape, dtype=torch.float16, device=device)
        self.label = torch.empty(shape, dtype=torch.bool, device=device)
        self.weight = torch.empty(shape, dtype=torch.bool, device=device)
        self.distance_mm = torch.empty(shape, dtype=torch.float16, device=device)
        self._origins: list[Tensor] = [torch.empty(0)] * (self.size // made)

    def fill(self) -> None:
        """Make every window of the pool."""
        for _ in self._origins:
            self.refresh()

    def refresh(self) -> None:
        """Make new windows in place of the oldest."""
        self._make(self.oldest)
        self.oldest = (self.oldest + self.made) % self.size

    def _make(self, first: int) -> None:
        self._origins[first // self.made] = self.stream.random.get_state()
        made = self.stream.batch(self.made, self.window)
        place = slice(first, first + self.made)
        self.hu[place] = made.hu.half()
        self.label[place] = made.label > 0.5
        self.weight[place] = made.weight > 0.5
        self.distance_mm[place] = made.distance_mm.half()

    def draw(self, n: int) -> Drawn:
        """A batch; every `USES` of them fresh windows are made first."""
        if self.draws % USES == 0:
            self.refresh()
        self.draws += 1
        chosen = torch.randint(self.size, (n,), generator=self.random, device=self.hu.device)
        batch = Drawn(
            self.hu[chosen].float(),
            self.label[chosen].float(),
            self.weight[chosen].float(),
            self.distance_mm[chosen].float(),
        )
        return varied(batch, self.random)

    def state_dict(self) -> dict[str, Any]:
        """Random states, and where the ring begins."""
        return {
            "origins": list(self._origins),
            "stream": self.stream.random.get_state(),
            "random": self.random.get_state(),
            "numbers": [self.oldest, self.draws],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the same windows again."""
        for k, origin in enumerate(state["origins"]):
            self.stream.random.set_state(origin)
            self._make(k * self.made)
        self.stream.random.set_state(state["stream"])
        self.random.set_state(state["random"])
        self.oldest, self.draws = state["numbers"]


class Random:
    """A random generator that a checkpoint can hold."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator(device=device).manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Its state."""
        return {"random": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be as then."""
        self.generator.set_state(state["random"])


FIELDS = ("hu", "label", "weight", "distance")


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of real scans at rest, all (n, z, y, x)."""

    hu: Tensor
    """float16."""
    label: Tensor
    """bool."""
    weight: Tensor
    """bool."""
    distance: Tensor
    """uint8: to the nearest artery, in `DISTANCE_STEPS` of a mm."""

    def to(self, device: torch.device) -> "Windows":
        """On another device."""
        return Windows(*(getattr(self, name).to(device) for name in FIELDS))

    def part(self, numbers: slice | Tensor) -> Drawn:
        """Some of them, ready for a network."""
        hu, label, weight, distance = (getattr(self, name)[numbers].float() for name in FIELDS)
        return Drawn(hu, label, weight, distance / DISTANCE_STEPS)


class CachedWindows:
    """Random crops of windows at rest.

    Several processes draw one batch together and each takes its share, so that their number does
    not change what is learned.
    """

    def __init__(self, windows: Windows, window: Sides, seed: int, world: World) -> None:
        """Raises: IacError: bad_setting when the windows at rest are too small."""
        there = tuple(windows.hu.shape[1:])
        if any(have < want for have, want in zip(there, window, strict=True)):
            raise IacError(
                Word.BAD_SETTING,
                f"windows of {there} are on file, the network trains on {window}",
                way_out="give the scans themselves, in a new folder: they are cut anew",
            )
        self._windows, self._window, self._world = windows, window, world
        self.random = torch.Generator(device=windows.hu.device).manual_seed(seed)

    def draw(self, n: int) -> Drawn:
        """A batch of `n` crops."""
        device, total = self._windows.hu.device, n * self._world.size
        chosen = torch.randint(
            len(self._windows.hu), (total,), generator=self.random, device=device
        )
        whole = self._windows.part(chosen)
        drawn = varied(cropped(whole, self._window, self.random), self.random)
        mine = slice(self._world.rank * n, (self._world.rank + 1) * n)
        return Drawn(*(volume[mine] for volume in volumes_of(drawn)))

    def state_dict(self) -> dict[str, Any]:
        """The random state."""
        return {"random": self.random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be as then."""
        self.random.set_state(state["random"])


def cropped(batch: Drawn, window: Sides, random: torch.Generator) -> Drawn:
    """Each window's own random part of the wanted size."""
    device = batch.hu.device
    starts = [
        torch.randint(have - want + 1, (len(batch.hu),), generator=random, device=device)
        for have, want in zip(batch.hu.shape[1:], window, strict=True)
    ]
    return Drawn(*(_part(volume, starts, window) for volume in volumes_of(batch)))


def _part(volume: Tensor, starts: list[Tensor], window: Sides) -> Tensor:
    """(b, z, y, x) -> (b, *window), from each one's own start along each axis (b,)."""
    for axis, (start, size) in enumerate(zip(starts, window, strict=True), start=1):
        index = start[:, None] + torch.arange(size, device=volume.device)
        shape = [1, 1, 1, 1]
        shape[0], shape[axis] = len(volume), size
        wide = list(volume.shape)
        wide[axis] = size
        volume = volume.gather(axis, index.reshape(shape).expand(wide))
    return volume


def varied(batch: Drawn, random: torch.Generator) -> Drawn:
    """Half of the windows mirrored left to right, each with gain and noise of its own."""
    n, device = len(batch.hu), batch.hu.device
    flip = torch.rand(n, 1, 1, 1, generator=random, device=device) < 0.5
    turned = Drawn(*(torch.where(flip, volume.flip(-1), volume) for volume in volumes_of(batch)))
    gain = 1.0 + 0.02 * torch.randn(n, 1, 1, 1, generator=random, device=device)
    noise = 2.0 * torch.rand(n, 1, 1, 1, generator=random, device=device)
    grain = torch.randn(batch.hu.shape, generator=random, device=device)
    return replace(turned, hu=turned.hu * gain + noise * grain)
