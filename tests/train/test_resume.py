"""A training that is killed goes on exactly; two processes learn what one with both shares does."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from iac_cli.train import loop
from iac_cli.train.finetune import FinetuneSettings, finetune
from iac_cli.train.pretrain import PretrainSettings, pretrain
from iac_cli.train.runs import read_weights
from iac_cli.train.streams import SkullSource
from tests.command import ROOT
from tests.train.heads import CPU, MAE, NETWORK, STREAM, make_skulls, make_windows, steps

TORCHRUN = (
    *("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"),
    *("--nproc-per-node", "2"),
)
SCRIPT = ROOT / "tests" / "train" / "training_script.py"


def _started(*arguments, before=()):
    return subprocess.Popen(
        [sys.executable, *before, str(SCRIPT), *map(str, arguments)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(process):
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[:3000] + " ... " + errors[-3000:]


def _state(run):
    return torch.load(run / "checkpoint.pt", weights_only=True)


def _same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def _wait_for(path, process):
    end = time.monotonic() + 200.0
    while not path.is_file() and time.monotonic() < end:
        assert process.poll() is None, process.communicate()[1][-2000:]
        time.sleep(0.05)


def test_a_killed_training_ends_with_the_bits_of_an_undisturbed_one(tmp_path):
    """On the stream, with both window sizes, batch normalisation and drop path."""
    skulls = make_skulls(tmp_path / "skulls")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    undisturbed = _started("finetune", whole, skulls, 9, 4)
    killed = _started("finetune", cut, skulls, 9, 4, "slow")
    _wait_for(cut / "checkpoint.pt", killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    _ended(undisturbed)
    assert 0 < _state(cut)["numbers"][1] < 9
    _ended(_started("finetune", cut, skulls, 9, 4))

    assert _same(_state(whole)["network"], _state(cut)["network"])
    assert _same(_state(whole)["average"], _state(cut)["average"])
    files = [(run / "network.safetensors").read_bytes() for run in (whole, cut)]
    assert files[0] == files[1]


class _PulledPlugError(Exception):
    """Stands for whatever ends a run."""


def _cut_after(monkeypatch, at):
    """Checkpoints after every step, and an end in the middle of step `at`."""
    monkeypatch.setattr(loop, "CHECKPOINT_S", -1.0)
    learn = loop.Trainer.learn

    def cut(trainer, loss):
        if trainer.step == at:
            raise _PulledPlugError
        learn(trainer, loss)

    monkeypatch.setattr(loop.Trainer, "learn", cut)


@pytest.mark.parametrize("at", [1, 5])
@pytest.mark.parametrize("kind", ["pretrain stream", "pretrain cached", "finetune cached"])
def test_wherever_a_run_ends_it_goes_on_exactly(tmp_path, monkeypatch, kind, at):
    def go(run):
        data = (
            SkullSource(make_skulls(tmp_path / "skulls"))
            if "stream" in kind
            else make_windows(tmp_path / "windows")
        )
        if kind.startswith("pretrain"):
            settings = PretrainSettings(
                budget=steps(7), network=MAE, batch=4, window=(8, 16, 16), stream=STREAM
            )
            return pretrain(settings, run, CPU, data)
        settings = FinetuneSettings(
            budget=steps(7), network=NETWORK, batch=4, window=(8, 16, 16), large_window=(8, 24, 24)
        )
        return finetune(settings, run, CPU, data)

    whole = go(tmp_path / "whole").state_dict()
    with monkeypatch.context() as patched:
        _cut_after(patched, at)
        with pytest.raises(_PulledPlugError):
            go(tmp_path / "cut")
    assert _state(tmp_path / "cut")["numbers"][1] == at
    torch.manual_seed(12345)  # whatever else happened in between
    assert _same(whole, go(tmp_path / "cut").state_dict())


def test_two_processes_learn_what_one_does_with_the_double_batch(tmp_path):
    make_windows(tmp_path / "windows")
    _ended(_started("pretrain", tmp_path / "two", tmp_path / "windows", 6, 2, before=TORCHRUN))
    _ended(_started("pretrain", tmp_path / "one", tmp_path / "windows", 6, 4))
    _ended(_started("pretrain", tmp_path / "none", tmp_path / "windows", 1, 4))
    one, two, begun = (_flat(tmp_path / name) for name in ("one", "two", "none"))
    moved = (one - begun).norm()
    assert float((one - two).norm()) < 0.02 * float(moved)
    assert not (tmp_path / "two" / "splits.json").exists()


def test_two_processes_go_on_together_and_one_alone_does_not(tmp_path):
    skulls, run = make_skulls(tmp_path / "skulls"), tmp_path / "run"
    for n_steps in (2, 4):
        _ended(_started("finetune", run, skulls, n_steps, 2, before=TORCHRUN))
        assert _state(run)["numbers"][1] == n_steps
    assert len(_state(run)["processes"]) == 2
    alone = _started("finetune", run, skulls, 5, 2)
    assert "2 processes" in alone.communicate(timeout=240)[1]
    assert alone.returncode == 1


def _flat(run: Path) -> torch.Tensor:
    state = _state(run)["network"]
    return torch.cat([value.flatten() for value in state.values()])


def test_a_run_leaves_weights_that_are_those_of_its_average(tmp_path):
    make_windows(tmp_path / "windows")
    settings = PretrainSettings(budget=steps(2), network=MAE, batch=2, window=(8, 16, 16))
    network = pretrain(settings, tmp_path / "run", CPU, make_windows(tmp_path / "windows"))
    stored = read_weights(tmp_path / "run")
    for name, value in network.state_dict().items():
        assert torch.equal(stored[name], value.half().float())
