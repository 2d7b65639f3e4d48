"""Leave one anatomy out: what a network finds in a skull that it never saw.

    python -m iac_cli.evaluate.left_out --skulls CACHE/skulls --judges CACHE/judges -o OUT
        --minutes 4|--steps 1000 [--only left_out,sources,families] [--within-minutes 55]

Every run trains the segmenter for the same time, or the same steps, and judges it on implants in
skulls that it did not see, and always on the judges, which no run ever trains on. Runs that are
done are not done again; one that was cut off goes on. Needs torch, numpy, scipy and safetensors
only.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from iac_cli.errors import IacError, Word
from iac_cli.evaluate.window_scores import judged, operating_threshold
from iac_cli.simulate.painted_skull import PROCEDURAL
from iac_cli.simulate.skull import Skull
from iac_cli.simulate.stream import StreamConfig, Windows, WindowStream
from iac_cli.simulate.windows.config import FAMILIES, without
from iac_cli.train.hybrid import Hybrid, HybridConfig
from iac_cli.train.loop import Budget, Place, Trainer
from iac_cli.train.pool import USES
from iac_cli.train.segmenter import (
    hu_channels,
    load_skulls,
    segmentation_loss,
    shares_of,
)
from iac_cli.train.world import choose_device

ABLATED = "visible_human"
"""The skull that is left out when families of randomisation are compared."""

JUDGE_SEED = 40_000_003
JUDGED_WITHOUT = (
    "warp",
    "bone_shift",
    "mixing",
    "source_sharpness",
    "bone_density",
    "cells",
    "spurs",
    "mimics",
)
"""A skull is judged as it is: only how it lies and how it is scanned varies."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training: which sources it sees, and which families it does without."""

    name: str
    sources: tuple[str, ...]
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all runs share."""

    skulls: Path
    judges: Path
    out: Path
    minutes: float = 0.0
    """Of training, each run; or"""
    steps: int = 0
    within_minutes: float = math.inf
    """No run begins after that, nor one whose `minutes` could not end by then."""
    batch: int = 96
    windows: int = 256
    """Each judgement."""
    seed: int = 1
    stream: StreamConfig = StreamConfig()
    network: HybridConfig = HybridConfig()

    @property
    def length(self) -> tuple[float | None, int | None]:
        """Minutes and steps of each run, one of them None."""
        return self.minutes or None, self.steps or None


def source_of(name: str) -> str:
    """The source of a cached skull: procedural skulls are one source together."""
    return PROCEDURAL if name.startswith(PROCEDURAL) else name


def planned(sources: list[str], only: tuple[str, ...]) -> list[Run]:
    """The runs of some groups: `left_out`, `sources` and `families`.

    Without the procedural skulls, real ones alone are left; so that run stands in `left_out`.
    Families are switched off while `ABLATED` is left out, whose own run is what they compare with.
    """
    runs = {
        "left_out": [
            Run(f"without_{left}", tuple(s for s in sources if s != left)) for left in sources
        ],
        "sources": [Run("all", tuple(sources))],
        "families": [],
    }
    if PROCEDURAL in sources:
        runs["sources"].insert(0, Run("procedural_only", (PROCEDURAL,)))
    if ABLATED in sources:
        rest = tuple(s for s in sources if s != ABLATED)
        runs["families"] = [Run(f"no_{family}", rest, (family,)) for family in FAMILIES]
    found = [run for group in only for run in runs[group] if run.sources]
    first: dict[object, Run] = {}
    for run in found:
        first.setdefault((run.sources, run.without), run)
    return list(first.values())


def make_stream(
    skulls: Mapping[str, Skull], config: StreamConfig, device: torch.device, seed: int
) -> WindowStream:
    """A stream of these skulls by their shares."""
    return WindowStream(dict(skulls), shares_of(list(skulls)), config, device=device, seed=seed)


def mirrored(made: Windows) -> Windows:
    """Left and right exchanged."""
    return Windows(*(getattr(made, field.name).flip(-1) for field in fields(Windows)))


def train(
    run: Run, skulls: Mapping[str, Skull], settings: Settings, device: torch.device
) -> Hybrid:
    """Train until the run's minutes are used; goes on from a checkpoint."""
    budget = Budget(minutes=settings.minutes, steps=settings.steps, seed=settings.seed)
    place = Place(device=device)
    torch.manual_seed(budget.seed)
    trainer = Trainer(Hybrid(settings.network), budget, settings.out / run.name, place)
    config = without(settings.stream, run.without)
    stream = make_stream(skulls, config, device, settings.seed + trainer.step)
    first = made = stream.batch(settings.batch)

    def loss_of(network: torch.nn.Module, made: Windows) -> torch.Tensor:
        with trainer.precision():
            logits = network(hu_channels(made.hu))[:, 0]
        return segmentation_loss(logits, made.label, made.weight)

    trainer.choose_precision(lambda network: loss_of(network, first))
    for step in trainer.steps():
        if step % USES == 0:
            made = stream.batch(settings.batch)
        trainer.network.train()
        trainer.learn(loss_of(trainer.network, mirrored(made) if step % USES == 1 else made))
    return trainer.average.network  # type: ignore[return-value]


def check_apart(skulls: Mapping[str, Skull], judges: Mapping[str, Skull]) -> None:
    """Refuse a judge that lies among the skulls of training, under whatever name.

    Raises: IacError: bad_setting.
    """
    for name, judge in judges.items():
        for other, skull in skulls.items():
            if judge.hu.shape == skull.hu.shape and (judge.hu == skull.hu).all():
                raise IacError(
                    Word.BAD_SETTING,
                    f"the judge {name} is also a skull of training ({other})",
                    way_out="take it out of the folder of skulls",
                )


def done(run: Run, settings: Settings, device: torch.device) -> dict[str, object]:
    """Train, then judge on every source that the run did not see, and on the judges."""
    every, judges = load_skulls(settings.skulls), load_skulls(settings.judges)
    check_apart(every, judges)
    seen = {name: skull for name, skull in every.items() if source_of(name) in run.sources}
    network = train(run, seen, settings, device).eval()
    own = make_stream(seen, settings.stream, device, JUDGE_SEED)
    threshold = operating_threshold(network, own, settings.windows // 2)
    others: dict[str, dict[str, Skull]] = {}
    for name in every.keys() - seen.keys():
        others.setdefault(source_of(name), {})[name] = every[name]
    others |= {f"judge:{k}": {k: v} for k, v in judges.items()}
    config = without(settings.stream, JUDGED_WITHOUT)
    scores = {}
    for name in sorted(others):
        stream = make_stream(others[name], config, device, JUDGE_SEED)
        scores[name] = asdict(judged(network, stream, settings.windows, threshold))
    return {
        "run": run.name,
        "trained_on": sorted(seen),
        "without": list(run.without),
        "minutes": settings.length[0],
        "steps": settings.length[1],
        "threshold": threshold,
        "judged_on": scores,
    }


def results(
    runs: list[Run], settings: Settings, device: torch.device
) -> Iterator[dict[str, object]]:
    """The result of every run that is done, or can still be done in time.

    Raises: IacError: output_exists, and the words of a run.
    """
    begun = time.monotonic()
    for run in runs:
        path = settings.out / run.name / "result.json"
        if not path.exists():
            left = settings.within_minutes - (time.monotonic() - begun) / 60.0
            if left < settings.minutes or left <= 0.0:
                continue
            made = done(run, settings, device)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
            partial.replace(path)
        result = json.loads(path.read_text(encoding="utf-8"))
        if (result["minutes"], result.get("steps")) != settings.length:
            raise IacError(
                Word.OUTPUT_EXISTS,
                f"the folder holds a run of another length: {run.name}",
                way_out="choose another folder, or the length of the runs that are done",
            )
        yield result


def summary(runs: list[Run], found: list[dict[str, object]]) -> dict[str, object]:
    """All results, and the names of runs that are still to do."""
    finished = {str(result["run"]) for result in found}
    return {"to_do": [run.name for run in runs if run.name not in finished], "runs": found}


def main() -> None:
    """Parse the command line and do all runs that fit into the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skulls", type=Path, required=True)
    parser.add_argument("--judges", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, default=0.0)
    length.add_argument("--steps", type=int, default=0, help="the same on machines of any speed")
    parser.add_argument("--within-minutes", type=float, default=math.inf)
    parser.add_argument("--only", default="left_out,sources,families")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    settings = Settings(
        skulls=chosen.skulls,
        judges=chosen.judges,
        out=chosen.out,
        minutes=chosen.minutes,
        steps=chosen.steps,
        within_minutes=chosen.within_minutes,
        batch=chosen.batch,
        windows=chosen.windows,
        seed=chosen.seed,
    )
    sources = sorted({source_of(path.stem) for path in settings.skulls.glob("[!.]*.npz")})
    runs = planned(sources, tuple(chosen.only.split(",")))
    settings.out.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, object]] = []
    for result in results(runs, settings, choose_device(chosen.device)):
        found.append(result)
        text = json.dumps(summary(runs, found), indent=1)
        (settings.out / "left_out.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
