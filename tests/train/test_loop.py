"""The schedule, the average, and what a killed run leaves."""

import csv

import pytest
import torch

from iac_cli.train.loop import MOST_SKIPPED, Average, Budget, Trainer, learning_rate


def test_the_learning_rate_rises_then_falls_to_a_hundredth():
    budget = Budget(minutes=1.0, learning_rate=2.0, warm_up=0.1)
    assert learning_rate(0.05, budget) == pytest.approx(1.0)
    assert learning_rate(0.1, budget) == pytest.approx(2.0)
    assert learning_rate(0.55, budget) == pytest.approx(2.0 * (0.01 + 0.99 * 0.5))
    assert learning_rate(1.0, budget) == pytest.approx(0.02)


def test_the_average_follows_weights_with_its_decay():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 0.0)
    average = Average(network, decay=0.5)
    average.steps = 10**6  # past the quicker start
    torch.nn.init.constant_(network.weight, 8.0)

    average.update(network)
    average.update(network)

    assert average.network.weight.item() == pytest.approx(6.0)


def _step(trainer):
    value = trainer.network(torch.ones(4, 2)).square().mean()
    trainer.learn(value)


def _trainer(run, start=None):
    trainer = Trainer(torch.nn.Linear(2, 1), Budget(minutes=1.0, seed=3), run, torch.device("cpu"))
    if start is not None:
        trainer.network.load_state_dict(start)
        trainer.average.network.load_state_dict(start)
        trainer.elapsed_s = 20.0
    return trainer


def test_a_resumed_run_goes_on_exactly_where_it_was_saved(tmp_path):
    start = torch.nn.Linear(2, 1).state_dict()
    whole, cut = _trainer(tmp_path / "whole", start), _trainer(tmp_path / "cut", start)
    for _ in range(6):
        _step(whole)
    for _ in range(3):
        _step(cut)
    cut.save()

    resumed = _trainer(tmp_path / "cut")
    assert resumed.elapsed_s == 20.0
    for _ in range(3):
        _step(resumed)

    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key])
        assert not torch.equal(value, cut.network.state_dict()[key])
    for key, value in whole.average.network.state_dict().items():
        assert torch.equal(value, resumed.average.network.state_dict()[key])


def test_no_half_written_checkpoint_is_left(tmp_path):
    trainer = _trainer(tmp_path)
    trainer.save()
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def _spoiled(trainer):
    return trainer.network(torch.full((4, 2), float("nan"))).mean()


def test_a_step_whose_gradient_is_not_finite_is_left_out(tmp_path):
    trainer = _trainer(tmp_path, torch.nn.Linear(2, 1).state_dict())
    before = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    trainer.learn(_spoiled(trainer))
    for key, value in trainer.network.state_dict().items():
        assert torch.equal(value, before[key])
    _step(trainer)
    assert not torch.equal(trainer.network.weight, before["weight"])


def test_a_loss_that_stays_not_finite_stops_the_run(tmp_path):
    trainer = _trainer(tmp_path)
    for _ in range(MOST_SKIPPED - 1):
        trainer.learn(_spoiled(trainer))
    with pytest.raises(FloatingPointError, match="not finite"):
        trainer.learn(_spoiled(trainer))


def test_progress_is_a_table_with_one_head_line(tmp_path):
    trainer = _trainer(tmp_path)
    trainer.log(loss=1.0)
    trainer.log(loss=0.5)
    with (tmp_path / "progress.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["loss"] for row in rows] == ["1.0", "0.5"]
