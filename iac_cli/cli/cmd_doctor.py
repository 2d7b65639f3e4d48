"""`iac-seg doctor`: is this installation right? Each answer is tried, not looked up."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from iac_cli.cli import options as o

PACKAGES = (
    "iac-cli",
    "numpy",
    "scipy",
    "pydicom",
    "SimpleITK",
    "dicom2nifti",
    "nibabel",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "openvino",
    "onnx",
)

SYNTAXES = (
    ("1.2.840.10008.1.2", "implicit little endian"),
    ("1.2.840.10008.1.2.1", "explicit little endian"),
    ("1.2.840.10008.1.2.1.99", "deflated"),
    ("1.2.840.10008.1.2.2", "big endian"),
    ("1.2.840.10008.1.2.5", "RLE"),
    ("1.2.840.10008.1.2.4.57", "JPEG lossless, process 14"),
    ("1.2.840.10008.1.2.4.70", "JPEG lossless"),
    ("1.2.840.10008.1.2.4.80", "JPEG-LS lossless"),
    ("1.2.840.10008.1.2.4.90", "JPEG 2000 lossless"),
)
"""Lossless transfer syntaxes that clinical archives use."""


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One question, its answer and, where something is wrong, what to do."""

    name: str
    state: State
    what: str
    fix: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor")(doctor)


def doctor(
    model: o.ModelFolder = None,
    device: o.Device = None,
    as_json: o.Json = False,
) -> None:
    """Check versions, decoders, providers and models, and segment a tiny case."""
    from iac_cli.cli.speak import answer, answer_json
    from iac_cli.errors import Exit

    checks = list(_all_checks(model, device or "auto"))
    broken = [check for check in checks if check.state == State.BROKEN]
    if as_json:
        answer_json({"ok": not broken, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            answer(f"{check.state.value:<7} {check.name:<28} {check.what}")
            if check.fix:
                answer(f"{'':<7} {'':<28} fix: {check.fix}")
        answer("all well" if not broken else f"{len(broken)} thing(s) to mend")
    raise typer.Exit(Exit.OK if not broken else _first_exit(broken))


def _first_exit(broken: list[Check]) -> int:
    """The exit code of the first failure's word; a name without a word is a device failure."""
    from iac_cli.errors import EXIT_OF, Exit, Word

    words = {word.value: word for word in Word}
    word = words.get(broken[0].what.split(":")[0])
    return EXIT_OF.get(word, Exit.DEVICE) if word else Exit.DEVICE


def _all_checks(model: Path | None, device: str) -> Iterator[Check]:
    yield from _versions()
    yield from _decoders()
    yield _tried("one ONNX Runtime", _runtime_conflict)
    yield from _providers()
    yield from _models(model)
    yield _tried("self-test", lambda: _self_test(model, device))


def _tried(name: str, question: Callable[[], str]) -> Check:
    """A check that answers a sentence, or fails with one of our words."""
    from iac_cli.errors import IacError

    try:
        return Check(name, State.OK, question())
    except IacError as error:
        return Check(name, State.BROKEN, f"{error.word}: {error.what}", error.way_out)


def _versions() -> Iterator[Check]:
    import platform
    from importlib import metadata

    yield Check("python", State.OK, f"{platform.python_version()} on {platform.machine()}")
    for name in PACKAGES:
        try:
            yield Check(name, State.OK, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, State.NOTE, "not installed")


def _decoders() -> Iterator[Check]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    for uid, name in SYNTAXES:
        syntax = UID(uid)
        if not syntax.is_encapsulated:
            yield Check(name, State.OK, "native pixels, no decoder needed")
            continue
        decoder: Any = get_decoder(syntax)
        if decoder.is_available:
            plugins = ", ".join(decoder.available_plugins)
            yield Check(name, State.OK, f"decoded by {plugins}")
        else:
            yield Check(name, State.BROKEN, "no decoder", "pip install --force-reinstall iac-cli")


def _runtime_conflict() -> str:
    from iac_cli.infer.device import check_one_runtime, runtime_versions

    check_one_runtime()
    found = runtime_versions()
    return ", ".join(f"{name} {version}" for name, version in found.items()) or "none"


def _providers() -> Iterator[Check]:
    """Run a two-node network on the CPU and, where there is a GPU, on it."""
    from iac_cli.infer.device import gpus_present, usable_threads
    from iac_cli.infer.selftest import run_tiny_network

    yield _tried(
        "runs on the CPU", lambda: f"{run_tiny_network('cpu')}, {usable_threads()} threads"
    )
    if gpus_present():
        yield _tried("runs on the GPU", lambda: run_tiny_network("cuda"))
    else:
        yield Check("runs on the GPU", State.NOTE, "no NVIDIA device was found")


def _models(folder: Path | None) -> Iterator[Check]:
    from iac_cli.infer.card import (
        Role,
        check_file,
        read_locator_card,
        read_locator_cards,
        read_segmenter_card,
        shipped_models,
    )

    place = folder or shipped_models()

    def checked(read: Callable[[Path], Any]) -> str:
        card = read(place)
        check_file(card)
        return f"{card.name} {card.version}, SHA-256 {card.sha256[:12]}... as its card says"

    yield _tried("segmenter", lambda: checked(read_segmenter_card))
    yield _tried("locator", lambda: checked(read_locator_card))
    if (place / f"{Role.LOCATOR_NEAR}.json").is_file():
        yield _tried("second locator", lambda: checked(lambda at: read_locator_cards(at)[1]))


def _self_test(folder: Path | None, device: str) -> str:
    """Locate and segment a made-up head of three ellipsoids: every stage answers."""
    from time import perf_counter

    from iac_cli.infer.models import load_models
    from iac_cli.infer.segment import segment_calcium
    from iac_cli.infer.selftest import TinyHead, tiny_head
    from iac_cli.locate.locator import locate_arteries
    from iac_cli.settings import RunSettings

    start = perf_counter()
    models = load_models(folder, RunSettings(device=device))
    head: TinyHead = tiny_head()
    locate_arteries(head.volume, models.locator)
    found = segment_calcium(head.volume, head, models.segmenter)
    ran = models.segmenter.engine.provider
    return (
        f"{found.n_windows} window(s) on {ran.name} ({ran.device}), {perf_counter() - start:.1f} s"
    )
