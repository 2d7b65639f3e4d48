"""`iac-seg train finetune`: a segmenter from labelled scans, or from cached heads."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from iac_cli.cli import train_options as options


class DecoderName(StrEnum):
    """How tokens become voxels."""

    HYBRID = "hybrid"
    LINEAR = "linear"
    UNETR = "unetr"
    TRANSPOSED = "transposed"
    INTERPOLATED = "interpolated"
    PROGRESSIVE = "progressive"


class BaselineName(StrEnum):
    """Networks without a transformer."""

    UNET = "unet"
    NNUNET = "nnunet"
    NNUNET_RESENC = "nnunet-resenc"


def register(app: typer.Typer) -> None:
    """Add the command to the `train` group."""
    app.command("finetune")(finetune)


def finetune(  # noqa: PLR0913 - each parameter is an option of the command line
    out: options.Out,
    data: options.Data = None,
    more: options.More = None,
    skulls: options.Skulls = None,
    left_out: options.LeftOut = "",
    init: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="RUN", help="A run to start from [default: none]."),
    ] = None,
    decoder: Annotated[DecoderName, typer.Option(help="How tokens become voxels.")] = (
        DecoderName.HYBRID
    ),
    baseline: Annotated[
        BaselineName | None, typer.Option(help="A network without a transformer instead.")
    ] = None,
    preset: Annotated[
        options.PresetName | None,
        typer.Option(help="Size of the encoder [default: as in --init, else tiny]."),
    ] = None,
    patch: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X", help="Voxels of a token [default: as in --init, else 4,8,8]."
        ),
    ] = None,
    prior: Annotated[
        bool, typer.Option(help="One more channel: the distance to the nearest artery.")
    ] = False,
    arteries: Annotated[
        bool | None,
        typer.Option(
            help="Learn where the arteries run as well, a task of training alone "
            "[default: as in --init, else no]."
        ),
    ] = None,
    development: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of patients to watch and calibrate on.")
    ] = 0.15,
    interval: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of patients kept for intervals.")
    ] = 0.15,
    minutes: options.Minutes = 60.0,
    steps: options.Steps = 0,
    batch: options.Batch = 0,
    learning_rate: Annotated[float, typer.Option(help="Highest.")] = 1.5e-3,
    per_scan: options.PerScan = 24,
    seed: options.Seed = 1,
    device: options.Device = "auto",
    precision: options.PrecisionOption = options.PrecisionName.AUTO,
    tensorboard: options.Board = False,
    model: options.ModelFolder = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a segmenter on labelled scans: a cohort's folder or a CSV patient_id,image,label."""
    options.need_torch()
    from iac_cli.cli.speak import tell
    from iac_cli.infer.card import shipped_models
    from iac_cli.train import finetune as library
    from iac_cli.train.baselines import Baseline
    from iac_cli.train.cache import CacheSettings
    from iac_cli.train.choose import (
        SMALL_WINDOW,
        default_batch,
        encoder_config,
        network_values,
        parse_patch,
    )
    from iac_cli.train.decoders import Decoder
    from iac_cli.train.scans import Wanted
    from iac_cli.train.segmenter import LARGE_WINDOW, fitting
    from iac_cli.train.splits import SplitShares
    from iac_cli.train.vit import Preset

    paths = [*(data or []), *(more or [])]
    options.check_sources(paths, skulls)
    vit = encoder_config(
        Preset(preset.value) if preset else None,
        parse_patch(patch) if patch else None,
        None if baseline else init,
    )
    kind = Baseline(baseline.value) if baseline else None
    with options.place_of(device, precision, tensorboard=tensorboard, quiet=quiet) as place:
        settings = library.FinetuneSettings(
            budget=options.budget_of(minutes, steps, learning_rate, seed),
            network=network_values(
                vit, Decoder(decoder.value), kind, prior=prior, arteries=arteries
            ),
            batch=batch or default_batch(place.device, 96, 24),
            window=SMALL_WINDOW if kind else fitting(SMALL_WINDOW, vit.patch),
            large_window=LARGE_WINDOW if kind else fitting(LARGE_WINDOW, vit.patch),
        )
        wanted = Wanted(
            labels=True,
            cut=CacheSettings(windows=per_scan, size=settings.large_window, seed=seed),
            shares=SplitShares(development=development, interval=interval),
            models=model or shipped_models(),
        )
        source = (
            options.skull_source(skulls, left_out)
            if skulls is not None
            else options.entries_of(paths, out, wanted, place, quiet=quiet)
        )
        library.finetune(settings, out, place, source, init)
        if not quiet and place.world.is_first:
            tell(f"trained: {out}; next 'iac-seg train calibrate', then 'iac-seg train export'")
