"""The schedule, the average, and what a killed run leaves."""

import csv

import pytest
import torch

from iac_cli.errors import IacError, Word
from iac_cli.train.average import Average
from iac_cli.train.loop import (
    MOST_SKIPPED,
    MOST_SKIPPED_IN_HALF,
    Budget,
    Place,
    Precision,
    Trainer,
    bfloat16_pays,
    learning_rate,
)


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


def _trainer(run, start=None, precision=Precision.FP32):
    torch.manual_seed(3)
    place = Place(device=torch.device("cpu"), precision=precision)
    trainer = Trainer(torch.nn.Linear(2, 1), Budget(minutes=1.0, seed=3), run, place)
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
    with pytest.raises(IacError, match="not finite") as told:
        trainer.learn(_spoiled(trainer))
    assert told.value.word == Word.LOSS_NOT_FINITE


def test_a_run_whose_half_precision_spoils_its_gradients_goes_on_in_full(tmp_path):
    trainer = _trainer(tmp_path, precision=Precision.BF16)
    trainer.choose_precision(lambda network: network(torch.ones(4, 2)).mean())
    for spoilt in range(1, MOST_SKIPPED_IN_HALF + 1):
        assert trainer.half
        trainer.learn(_spoiled(trainer))
        assert trainer.half == (spoilt < MOST_SKIPPED_IN_HALF)
    _step(trainer)  # and is whole again


def test_half_precision_is_taken_only_where_a_timed_step_is_finite_and_faster(monkeypatch):
    from iac_cli.train import loop

    clock = iter([0.0, 2.0, 2.0, 3.0, 0.0, 1.0, 1.0, 3.0])  # full 2 s, half 1 s; then 1 s, 2 s
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    layer, cpu = torch.nn.Linear(2, 1), torch.device("cpu")

    def step():
        return layer(torch.ones(1, 2)).mean()

    assert bfloat16_pays(step, cpu)
    assert not bfloat16_pays(step, cpu)
    monkeypatch.setattr(loop.time, "perf_counter", iter([0.0, 2.0, 2.0, 3.0]).__next__)
    assert not bfloat16_pays(lambda: step() * float("nan"), cpu)


def test_half_precision_is_not_tried_on_a_processor_with_avx2_alone(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")

    def step():
        raise AssertionError("tried")

    assert not bfloat16_pays(step, torch.device("cpu"))


def test_what_precision_was_begun_with_is_gone_on_with(tmp_path):
    trainer = _trainer(tmp_path, precision=Precision.BF16)
    trainer.choose_precision(lambda network: network(torch.ones(4, 2)).mean())
    trainer.save()
    resumed = _trainer(tmp_path, precision=Precision.AUTO)
    resumed.choose_precision(lambda network: pytest.fail("timed again"))
    assert resumed.half


@pytest.mark.parametrize(
    "budget", [Budget(), Budget(minutes=1.0, steps=5), Budget(steps=5, learning_rate=-1.0)]
)
def test_a_budget_that_is_none_is_refused(tmp_path, budget):
    with pytest.raises(IacError) as told:
        Trainer(torch.nn.Linear(2, 1), budget, tmp_path, Place(device=torch.device("cpu")))
    assert told.value.word == Word.BAD_SETTING


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    _trainer(tmp_path).save()
    with pytest.raises(IacError) as told:
        Trainer(torch.nn.Linear(3, 1), Budget(steps=1), tmp_path, Place(device=torch.device("cpu")))
    assert told.value.word == Word.MODEL_SHAPE_MISMATCH


def test_a_checkpoint_that_is_cut_off_is_told(tmp_path):
    _trainer(tmp_path).save()
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IacError) as told:
        _trainer(tmp_path)
    assert told.value.word == Word.MODEL_UNREADABLE


def test_losses_written_after_the_checkpoint_are_forgotten(tmp_path):
    trainer = _trainer(tmp_path)
    trainer.log(loss=3.0)
    trainer.save()
    trainer.step = 7
    trainer.log(loss=2.0)
    _trainer(tmp_path).log(loss=1.0)
    with (tmp_path / "progress.csv").open() as stream:
        assert [(row["step"], row["loss"]) for row in csv.DictReader(stream)] == [
            ("0", "3.0"),
            ("0", "1.0"),
        ]


def test_progress_is_a_table_with_one_head_line(tmp_path):
    trainer = _trainer(tmp_path)
    trainer.log(loss=1.0)
    trainer.log(loss=0.5)
    with (tmp_path / "progress.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["loss"] for row in rows] == ["1.0", "0.5"]


def test_a_value_that_comes_later_gets_a_column(tmp_path):
    trainer = _trainer(tmp_path)
    trainer.log(loss=1.0)
    trainer.log(dice=0.5)
    trainer.log(loss=0.7)
    with (tmp_path / "progress.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["loss"], row["dice"]) for row in rows] == [("1.0", ""), ("", "0.5"), ("0.7", "")]
