"""`iac-seg train pretrain`: the encoder learns from scans without labels."""

from typing import Annotated

import typer

from iac_cli.cli import train_options as options


def register(app: typer.Typer) -> None:
    """Add the command to the `train` group."""
    app.command("pretrain")(pretrain)


def pretrain(  # noqa: PLR0913 - each parameter is an option of the command line
    out: options.Out,
    data: options.Data = None,
    more: options.More = None,
    skulls: options.Skulls = None,
    left_out: options.LeftOut = "",
    preset: Annotated[options.PresetName, typer.Option(help="Size of the encoder.")] = (
        options.PresetName.TINY
    ),
    patch: Annotated[str, typer.Option(metavar="Z,Y,X", help="Voxels of a token.")] = "4,8,8",
    mask_ratio: Annotated[
        float, typer.Option(min=0.05, max=0.98, help="Share of the tokens that is hidden.")
    ] = 0.9,
    normalise_patches: Annotated[
        bool, typer.Option(help="Targets with mean 0 and variance 1 in each patch.")
    ] = False,
    minutes: options.Minutes = 60.0,
    steps: options.Steps = 0,
    batch: options.Batch = 0,
    learning_rate: Annotated[float, typer.Option(help="Highest.")] = 1e-3,
    per_scan: options.PerScan = 24,
    seed: options.Seed = 1,
    device: options.Device = "auto",
    precision: options.PrecisionOption = options.PrecisionName.AUTO,
    tensorboard: options.Board = False,
    model: options.ModelFolder = None,
    quiet: options.Quiet = False,
) -> None:
    """Pre-train an encoder by masked autoencoding. No labels: DICOM, NIfTI, or cached heads."""
    options.need_torch()
    from iac_cli.cli.speak import tell
    from iac_cli.infer.card import shipped_models
    from iac_cli.train import pretrain as library
    from iac_cli.train.cache import CacheSettings
    from iac_cli.train.choose import default_batch, parse_patch
    from iac_cli.train.mae import MaeConfig
    from iac_cli.train.scans import Wanted
    from iac_cli.train.segmenter import LARGE_WINDOW, fitting
    from iac_cli.train.splits import SplitShares
    from iac_cli.train.vit import Preset, preset_config

    paths = [*(data or []), *(more or [])]
    options.check_sources(paths, skulls)
    sides = parse_patch(patch)
    vit = preset_config(Preset(preset.value), sides)
    with options.place_of(device, precision, tensorboard=tensorboard, quiet=quiet) as place:
        settings = library.PretrainSettings(
            budget=options.budget_of(minutes, steps, learning_rate, seed),
            network=MaeConfig(vit=vit, mask_ratio=mask_ratio, normalise_patches=normalise_patches),
            batch=batch or default_batch(place.device, 256, 32),
            window=fitting(LARGE_WINDOW, sides),
        )
        wanted = Wanted(
            labels=False,
            cut=CacheSettings(windows=per_scan, size=settings.window, seed=seed),
            shares=SplitShares(development=0.0, interval=0.0),
            models=model or shipped_models(),
        )
        source = (
            options.skull_source(skulls, left_out)
            if skulls is not None
            else options.entries_of(paths, out, wanted, place, quiet=quiet)
        )
        library.pretrain(settings, out, place, source)
        if not quiet and place.world.is_first:
            tell(f"pre-trained: {out}")
