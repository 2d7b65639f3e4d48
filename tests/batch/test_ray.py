"""A real Ray cluster of several nodes on this machine: what is lost is replaced and done again."""

import csv
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import heads
import pytest
from oracle import oracle_models

from iac_cli.batch.engines.ray.cluster import Cluster, Share, joined, share_of
from iac_cli.batch.engines.ray.engine import RayEngine
from iac_cli.batch.job import Job, Outcome, Started, State, Work
from iac_cli.dicom.nifti import write_nifti
from iac_cli.errors import Exit, IacError, Word
from iac_cli.infer.device import Kind
from iac_cli.settings import RunSettings, Settings, prepare_ray
from tests.batch.ray_doers import HomelessMeasurer, ObedientMeasurer, read
from tests.command import PROGRAM, environment, iac_seg

N_NODES, N_CASES = 3, 10

needs_ray = pytest.mark.slow
"""Tests on a real cluster take minutes: install `.[ray]`, then `pytest -m slow tests/batch`."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[object]:
    """A head without CPUs and three nodes of one CPU each."""
    prepare_ray(joining=True)
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    place = tempfile.mkdtemp(prefix="iac-ray-", dir="/tmp")  # paths of sockets must be short
    head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": place}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(N_NODES):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def crew(nodes, tmp_path: Path) -> Iterator[RayEngine]:
    """Two measurers and two readers that do as they are told."""
    with joined(nodes.address):
        yield RayEngine(
            work=Work(out=tmp_path, settings=Settings()),
            share=Share(2, 1, Kind.CPU),
            read=read,
            make_measurer=ObedientMeasurer,
        )


def jobs(*names: str, source: Path = Path("nowhere")) -> Iterator[Job]:
    return iter([Job(name, source, None, "") for name in names])


def run(engine: RayEngine, given: Iterator[Job], should_stop=lambda: False) -> dict[str, Outcome]:
    ended = [one for one in engine.run(given, should_stop) if isinstance(one, Outcome)]
    assert len({one.case_id for one in ended}) == len(ended), "a case ended twice"
    return {one.case_id: one for one in ended}


@needs_ray
def test_cases_that_lose_their_worker_run_again_and_take_no_other_along(crew: RayEngine) -> None:
    names = ["ok-1", "die-1", "once-1", "ok-2", "unread-1", "ok-3"]
    events = list(crew.run(jobs(*names), lambda: False))
    begun = [event.case_id for event in events if isinstance(event, Started)]
    ended = [event for event in events if isinstance(event, Outcome)]
    assert sorted(one.case_id for one in ended) == sorted(names)
    failed = {one.case_id: one.code for one in ended if one.state is State.FAILED}
    assert failed == {"die-1": Word.WORKER_KILLED}
    assert [begun.count(name) for name in ("die-1", "once-1", "unread-1", "ok-1")] == [3, 2, 2, 1]


@needs_ray
def test_time_limit_stop_and_lazy_jobs(crew: RayEngine) -> None:
    taken: list[str] = []

    def endless() -> Iterator[Job]:
        yield from jobs("hang-1", "ok-1")
        for number in range(10**6):
            taken.append(f"ok-{number + 2}")
            yield from jobs(taken[-1])

    begun: set[str] = set()
    ended: dict[str, Outcome] = {}
    hasty = replace(crew, timeout_s=1.0)
    for event in hasty.run(endless(), lambda: "hang-1" in ended):
        if isinstance(event, Outcome):
            ended[event.case_id] = event
            assert len(taken) < len(ended) + 8
        else:
            begun.add(event.case_id)
    assert ended["hang-1"].code == Word.TIMED_OUT
    assert ended["hang-1"].wall_s >= 1.0
    assert ended["ok-1"].state is State.MEASURED
    assert begun == set(ended)


@needs_ray
def test_closing_the_events_frees_the_cluster(crew: RayEngine, nodes) -> None:
    import ray

    events = crew.run(jobs("hang-1", "hang-2"), lambda: False)
    next(events)
    events.close()
    assert not [path for path in crew.work.out.iterdir() if path.name.startswith(".")]
    _wait_for(lambda: ray.available_resources().get("CPU") == N_NODES)


@needs_ray
def test_what_every_case_would_share_ends_the_batch(crew: RayEngine, tmp_path: Path) -> None:
    assert run(crew, jobs("full-1"))["full-1"].stops is Exit.OUTPUT
    with pytest.raises(IacError, match="no model"):
        run(replace(crew, make_measurer=HomelessMeasurer), jobs("ok-1"))
    (tmp_path / "study").mkdir()
    with pytest.raises(IacError, match="does not see the studies") as caught:
        run(crew, jobs("unseen-1", source=tmp_path / "study"))
    assert caught.value.word is Word.INPUT_NOT_FOUND
    assert run(crew, jobs("unseen-2"))["unseen-2"].code == Word.INPUT_NOT_FOUND


@needs_ray
def test_a_node_that_sees_another_output_folder_ends_the_batch(
    crew: RayEngine, tmp_path: Path, monkeypatch
) -> None:
    """Its sign is taken away before a worker can have looked for it."""
    made = tempfile.NamedTemporaryFile

    def unseen(**more):
        file = made(**(more | {"delete": False}))
        Path(file.name).unlink()
        return file

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", unseen)
    with pytest.raises(IacError, match="does not see the output") as caught:
        run(crew, jobs("ok-1"))
    assert caught.value.word is Word.OUTPUT_NOT_WRITABLE


# whole cases through the command line


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight heads with balls of several sizes, one that is no head, one that is no image."""
    folder = tmp_path_factory.mktemp("archive")
    oracle_models(folder / "models")
    plain = heads.head()
    for number in range(8):
        volume = heads.with_ball(plain, [-12, -20, -12], 2.5 + number / 10, 400.0 + number)
        write_nifti(folder / f"{number}.nii.gz", volume.hu, volume.grid)
    bald = heads.head(brain_hu=-1000.0)
    write_nifti(folder / "8.nii.gz", bald.hu, bald.grid)
    (folder / "9.nii.gz").write_bytes(b"no image")
    rows = "".join(f"c{number},{number}.nii.gz\n" for number in range(N_CASES))
    (folder / "studies.csv").write_text("case_id,path\n" + rows, encoding="utf-8")
    return folder


def options(archive: Path, out: Path) -> list[str | Path]:
    given = ["batch-score", "--manifest", archive / "studies.csv", "-o", out, "-d", "cpu"]
    return [*given, "--model", archive / "models"]


@pytest.fixture(scope="module")
def by_local(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("local") / "out"
    done = iac_seg(*options(archive, out), "-j", "1")
    assert done.returncode == Exit.BATCH_PARTIAL, done.stderr
    return out


@needs_ray
def test_a_run_that_loses_a_worker_and_a_node_equals_the_local_one(
    nodes, archive: Path, by_local: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [*options(archive, out), "--engine", "ray", "--address", nodes.address, "-j", "2"]
    process = subprocess.Popen(
        [PROGRAM, *map(str, command)], stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        _wait_for(lambda: _n_rows(out) >= 1)
        _wait_for(lambda: len(_measurers(nodes)) == 2)
        (_, process_id), (lost, _) = _measurers(nodes).items()
        os.kill(process_id, signal.SIGKILL)
        _wait_for(lambda: _n_rows(out) >= 3)
        assert _n_rows(out) < N_CASES, "the cases ended before the node was lost"
        nodes.remove_node(lost, allow_graceful=False)
        _, told = process.communicate(timeout=120)
    finally:
        process.kill()
        nodes.add_node(num_cpus=1)
    assert process.returncode == Exit.BATCH_PARTIAL, told
    assert str(archive) not in told and "nii.gz" not in told
    assert [row["case_id"] for row in _rows(out)] == [f"c{number}" for number in range(N_CASES)]
    for table in ("scores.csv", "lesions.csv", "failures.csv"):
        assert (out / table).read_bytes() == (by_local / table).read_bytes()
    mask = Path("c3") / "mask.nii.gz"
    assert (out / mask).read_bytes() == (by_local / mask).read_bytes()


@needs_ray
def test_without_an_address_ray_runs_on_this_machine(
    archive: Path, by_local: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = iac_seg(*options(archive, out), "--engine", "ray", "-j", "1", "--json", RAY_ADDRESS="")
    assert done.returncode == Exit.BATCH_PARTIAL, done.stderr
    assert (out / "scores.csv").read_bytes() == (by_local / "scores.csv").read_bytes()
    assert not [path for path in out.iterdir() if path.name.startswith(".seen")]


@needs_ray
def test_the_first_signal_asks_and_the_second_stops_at_once(
    nodes, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [*options(archive, out), "--engine", "ray", "--address", nodes.address, "-j", "1"]
    process = subprocess.Popen(
        [PROGRAM, *map(str, command)], stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        _wait_for(lambda: _n_rows(out) >= 1)
        (process_id,) = _measurers(nodes).values()
        os.kill(process_id, signal.SIGSTOP)  # the running case does not end by itself
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert process.poll() is None, "the first signal lets the running case end"
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == Exit.TERMINATED, told
    assert "stopping" in told and "bug" not in told
    _wait_for(lambda: not _measurers(nodes))


def _n_rows(out: Path) -> int:
    return len(_rows(out))


def _rows(out: Path) -> list[dict[str, str]]:
    if not (out / "scores.csv").exists():
        return []
    with (out / "scores.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _measurers(nodes) -> dict:
    """Each node that has a measurer, and its process."""
    found = {node: _measurer_of(node) for node in nodes.worker_nodes}
    return {node: process_id for node, process_id in found.items() if process_id is not None}


def _measurer_of(node) -> int | None:
    """The measuring process of a node, if it has one: a child of the node's own process."""
    raylet = node.all_processes["raylet"][0].process.pid
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title = (place / "cmdline").read_bytes()
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == raylet and title.startswith(b"ray::MeasuringActor"):
            return int(place.name)
    return None


def _wait_for(told: Callable[[], bool], longest_s: float = 60) -> None:
    until = time.monotonic() + longest_s
    while not told():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.1)


# without a cluster


@pytest.mark.parametrize(
    ("cluster", "device", "asked", "share"),
    [
        (Cluster(4, 0, 64, 4), "auto", None, Share(4, 1, Kind.CPU)),
        (Cluster(64, 0, 32, 16), "auto", None, Share(16, 4, Kind.CPU)),
        (Cluster(64, 0, 256, 8), "auto", 2, Share(2, 8, Kind.CPU)),
        (Cluster(64, 2, 256, 32), "cpu", None, Share(64, 1, Kind.CPU)),
        (Cluster(64, 2, 256, 32), "auto", None, Share(16, 1, Kind.CUDA, 0.125)),
        (Cluster(16, 4, 256, 4), "cuda", 2, Share(2, 1, Kind.CUDA, 1.0)),
        (Cluster(2, 1, 8, 2), "cuda:1", 3, Share(3, 1, Kind.CUDA, 0.3333)),
    ],
)
def test_a_cluster_is_divided(cluster: Cluster, device: str, asked, share: Share) -> None:
    work = Work(out=Path("out"), settings=Settings(run=RunSettings(device=device)))
    assert share_of(cluster, work, asked) == share


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_a_measurer_leaves_room_for_its_reader(threads: int) -> None:
    share = Share(1, threads, Kind.CPU)
    assert share.measurer()["num_cpus"] + share.reader()["num_cpus"] == threads


@needs_ray
def test_a_cluster_that_cannot_be_joined_is_told(monkeypatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")

    def refuse(**_more):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(IacError) as caught, joined("10.0.0.1:6379"):
        pass
    assert caught.value.word is Word.CLUSTER_UNAVAILABLE == "cluster_unavailable"


def test_a_missing_ray_is_told(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("raise ImportError('not here')")
    arguments = [*options(archive, tmp_path / "out"), "--engine", "ray"]
    done = iac_seg(*arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode == Exit.DEVICE
    assert "runtime_missing" in done.stderr
    assert "'.[ray]'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [["--address", "auto"], ["--engine", "ray", "--memory-gb", "4"]])
def test_options_of_the_other_engine_are_refused(archive: Path, tmp_path: Path, more) -> None:
    done = iac_seg(*options(archive, tmp_path / "out"), *more)
    assert done.returncode == Exit.USAGE
    assert "conflicting_options" in done.stderr
