"""The loader: batches that depend on the seed and the step alone, whoever prepares them and whatever dies."""

import contextlib
import dataclasses
import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from ndcl.batch import WHOLE, Batch, Share
from ndcl.config import TrainConfig
from ndcl.data import Store
from ndcl.data.inputs import augments_on_gpu, delivered_shape, holds_photos
from ndcl.data.loading import loader as loader_module
from ndcl.data.loading import workers as workers_module
from ndcl.data.loading.loader import Loader, evaluation_rows
from ndcl.data.loading.sampler import DomainSampler
from ndcl.data.loading.workers import number_of_workers
from ndcl.data.problem import build_problem
from ndcl.data.store.decoding import decode
from ndcl.data.store.writer import write_store
from ndcl.data.transforms import RowDraws, augment_digits, to_inputs
from ndcl.data.transforms_photo import augment_each
from ndcl.errors import UserError
from ndcl.seeds import AUGMENTATION, POLICY, stream_seed
from ndcl.training import Training
from tests.made.made_photos import make_photos, photo_config
from tests.made.made_store import make_store

POLICIES = ("trivial", "randaugment", "augmix")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module", params=["raw", "encoded"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_photos(tmp_path_factory.mktemp("data") / "photos", request.param)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_photos(tmp_path_factory.mktemp("data") / "photos", "raw")


def digits_config(**values: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "data": {"name": "digits", "target": "sign"},
        "algorithm": {"name": "erm"},
        "imbalance": {"ratio": 10, "validation": 4},
        "batch_size": 7,
    }
    return TrainConfig.from_dict(base | values)


@contextlib.contextmanager
def loader_of(config: TrainConfig, **data: Any) -> Iterator[Loader]:
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **data))
    problem = build_problem(config.data, config.imbalance)
    labels = [problem.store.labels[rows] for rows in problem.train]
    loader = Loader(problem, DomainSampler(labels, config.batch_size, config.seed, None), config, CPU)
    try:
        yield loader
    finally:
        loader.close()


def contents(batch: Batch) -> list[bytes]:
    return [
        batch.inputs.numpy().tobytes(),
        batch.layout.labels.numpy().tobytes(),
        batch.layout.domains.numpy().tobytes(),
    ]


def pids(loader: Loader) -> list[int]:
    assert loader._workers is not None
    return [worker.pid for worker in loader._workers._loader._iterator._workers]  # type: ignore[union-attr]


def wait_until_gone(processes: list[int], seconds: float = 30) -> list[int]:
    """Those of `processes` that are still there after a while; a zombie counts as gone."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and (alive := [pid for pid in processes if is_alive(pid)]):
        time.sleep(0.05)
    return alive


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_an_evaluation_has_parts_of_a_step_s_size_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """For small images parts are larger anyway; large ones come in parts of a few."""
    for micro, on_gpu, expected in ((None, False, 2), (None, True, 21), (5, True, 5), (1, True, 2)):
        with loader_of(digits_config(micro_batch_size=micro)) as loader:
            preparation = loader._preparation
            assert evaluation_rows(preparation, on_gpu=on_gpu) == 512
            monkeypatch.setattr(loader_module, "EVALUATION_BYTES", 2 * preparation.input_bytes)
            assert evaluation_rows(preparation, on_gpu=on_gpu) == expected
            monkeypatch.undo()


# Policies


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_torchvisions_by_a_seed_of_each_image_and_step(store: Store, name: str) -> None:
    config = photo_config(store, data={"augment": name, "image_size": 64, "workers": 0})
    kind = {"trivial": v2.TrivialAugmentWide, "randaugment": v2.RandAugment, "augmix": v2.AugMix}[name]
    state = torch.get_rng_state()
    with loader_of(config) as loader:
        first, again, other = (loader.batch(step) for step in (2, 2, 3))
        made = loader._preparation
        cropped = augment_each(made._photos(made.indices(2)), made.size, made.draws(2), colours=False)
        seeds = torch.randint(
            2**63 - 1, (10,), generator=torch.Generator().manual_seed(stream_seed(config.seed, 2, POLICY))
        )
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers change"
    assert contents(first) == contents(again) != contents(other)
    expected = []
    for image, seed in zip(cropped, seeds.tolist(), strict=True):
        torch.manual_seed(seed)
        expected.append(kind()(image))
    torch.set_rng_state(state)
    assert torch.equal(first.inputs, to_inputs(torch.stack(expected).permute(0, 2, 3, 1)))
    assert not torch.equal(torch.stack(expected), cropped)


@pytest.mark.parametrize("name", POLICIES)
def test_a_share_of_a_batch_is_changed_as_in_the_whole(raw: Store, name: str) -> None:
    config = photo_config(raw, data={"augment": name, "workers": 0})
    problem = build_problem(config.data, config.imbalance)
    labels = [problem.store.labels[rows] for rows in problem.train]
    sampler = DomainSampler(labels, config.batch_size, config.seed, None)
    shares = [Share(rank=rank, world_size=3) for rank in range(3)]
    whole, *parts = (Loader(problem, sampler, config, CPU, share).batch(1).inputs for share in (WHOLE, *shares))
    assert torch.equal(torch.cat(parts), whole)


def test_digits_are_changed_by_the_policy_alone_and_other_small_images_mirrored_before(tmp_path: Path) -> None:
    data = {"name": "digits", "target": "sign", "augment": "randaugment"}
    with (
        loader_of(digits_config(data=data)) as loader,
        loader_of(digits_config(data=data | {"augment": False})) as plain,
    ):
        assert not torch.equal(loader.batch(0).inputs, plain.batch(0).inputs)
        step = loader._preparation
        images = step.problem.store.inputs(step.indices(0)).permute(0, 3, 1, 2)
        expected = step.by_policy(images, 0).permute(0, 2, 3, 1)
        assert torch.equal(loader.batch(0).inputs, to_inputs(expected))


def test_true_and_false_are_the_names_that_they_stood_for() -> None:
    kinds = {True: "default", False: "none", "default": "default", "none": "none", "augmix": "augmix"}
    for written, meant in kinds.items():
        assert digits_config(data={"name": "digits", "target": "sign", "augment": written}).data.augment == meant
    for wrong in ("yes", 2, [True]):
        with pytest.raises(UserError, match=r"data\.augment: .* is not valid; choose one of none, default, trivial"):
            digits_config(data={"name": "digits", "target": "sign", "augment": wrong})


# What a batch holds


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_number_of_workers_does_not_change_the_batches(store: Store, num_workers: int) -> None:
    config = photo_config(store)
    with loader_of(config, workers=0) as alone, loader_of(config, workers=num_workers) as helped:
        expected = [contents(batch) for batch in alone.batches(0, 7)]
        assert [contents(batch) for batch in helped.batches(0, 7)] == expected
        assert [contents(batch) for batch in helped.batches(4, 6)] == expected[4:6]  # as a resumed run asks
        assert contents(helped.batch(3)) == expected[3]
    assert len({batch[0] for batch in expected}) == 7


def test_another_process_makes_the_same_batches(store: Store) -> None:
    with loader_of(photo_config(store)) as loader:
        again = pickle.loads(pickle.dumps(loader._preparation))
        assert torch.equal(again[5], loader._preparation[5])
        rows = np.array([3, 17])
        assert torch.equal(again[rows], loader._preparation[rows])


def test_a_batch_holds_the_rows_that_the_sampler_chose(store: Store) -> None:
    config = photo_config(store)
    with loader_of(config, augment=False, workers=1) as loader:
        problem, sampler = loader._preparation.problem, loader._preparation.sampler
        for step, batch in enumerate(list(loader.batches(0, 3))):
            rows = sampler.rows(step)
            indices = np.concatenate([train[r] for train, r in zip(problem.train, rows, strict=True)])
            assert np.array_equal(batch.layout.host_labels, store.labels[indices])
            assert batch.layout.domains.tolist() == [0] * 5 + [1] * 5
            assert torch.equal(batch.inputs, torch.cat(list(loader.evaluation_inputs(indices))))


def test_the_seed_changes_rows_and_augmentation(store: Store) -> None:
    with loader_of(photo_config(store)) as one, loader_of(photo_config(store, seed=1)) as other:
        assert contents(one.batch(0)) != contents(other.batch(0))
        first, second = (loader._preparation.draws(0) for loader in (one, other))
        assert not np.array_equal(first.areas, second.areas)


def test_batches_of_digits_are_as_they_always_were() -> None:
    """Drawn, augmented and scaled in this order from these seeds: published numbers depend on it."""
    config = digits_config(seed=3)
    for num_workers in (0, 1):
        with loader_of(config, workers=num_workers) as loader:
            problem, sampler = loader._preparation.problem, loader._preparation.sampler
            for step, batch in enumerate(loader.batches(0, 2)):
                rows = sampler.rows(step)
                indices = np.concatenate([train[r] for train, r in zip(problem.train, rows, strict=True)])
                generator = torch.Generator().manual_seed(stream_seed(3, step, AUGMENTATION))
                draws = RowDraws(generator, len(indices))
                expected = to_inputs(augment_digits(problem.store.inputs(indices), draws))
                assert torch.equal(batch.inputs, expected)
                assert batch.inputs.is_contiguous(memory_format=torch.channels_last)


def test_torchs_own_random_numbers_stay_as_they_are(raw: Store) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with loader_of(photo_config(raw), workers=1) as loader:
        list(loader.batches(0, 2))
    assert torch.equal(torch.get_rng_state(), before)


# Sizes and evaluation


def test_evaluation_sees_whole_images_resized_and_normalised(store: Store) -> None:
    indices = np.array([0, 20, 7, 33])
    with loader_of(photo_config(store), workers=0, image_size=48) as loader:
        inputs = torch.cat(list(loader.evaluation_inputs(indices)))
    if store.kind == "encoded":
        images = [decode(store.encoded(i)) for i in indices]
    else:
        images = list(store.inputs(indices).permute(0, 3, 1, 2))
    expected = torch.stack([functional.resize(image, [48, 48], antialias=True) for image in images])
    assert torch.equal(inputs, scaled(expected))


def scaled(images: torch.Tensor) -> torch.Tensor:
    """As images of fewer pixels than ImageNet's networks are used for."""
    return images.float().sub(127.5).div(127.5)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_comes_in_parts_of_bounded_size(
    store: Store, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    monkeypatch.setattr(loader_module, "EVALUATION_BYTES", 5 * 72 * 80 * 3)
    indices = np.arange(17)[::-1]
    with loader_of(photo_config(store), workers=0) as loader:
        whole = torch.cat([part for i in indices for part in loader.evaluation_inputs(np.array([i]))])
    with loader_of(photo_config(store), workers=num_workers) as loader:
        parts = list(loader.evaluation_inputs(indices))
    assert [len(part) for part in parts] == [5, 5, 5, 2]
    assert torch.equal(torch.cat(parts), whole)


def test_images_are_delivered_as_stored_but_not_above_the_fields_size(tmp_path: Path) -> None:
    def shape(*stored: int, image_size: int | None = None) -> tuple[int, ...]:
        dtype = np.uint8 if len(stored) == 3 else np.float32
        folder = tmp_path / "x".join(map(str, stored))
        if not folder.exists():
            inputs, ids = np.zeros((1, *stored), dtype), np.zeros(1, int)
            write_store(folder, name="m", classes="a", domains="x", inputs=inputs, labels=ids, domain_ids=ids)
        return delivered_shape(Store(folder), image_size)

    assert shape(28, 28, 3) == (28, 28, 3)
    assert shape(256, 256, 3) == (224, 224, 3)
    assert shape(300, 100, 3) == (224, 100, 3)
    assert shape(256, 256, 3, image_size=96) == (96, 96, 3)
    assert shape(28, 28, 3, image_size=32) == (32, 32, 3)
    assert shape(9) == shape(9, image_size=32) == (9,)


def test_small_images_can_be_enlarged(tmp_path: Path) -> None:
    made = make_store(tmp_path / "small", np.full((3, 3), 6), shape=(20, 24, 3))
    assert not holds_photos(made)
    with loader_of(photo_config(made), image_size=40) as loader:
        assert loader.batch(0).inputs.shape == (10, 3, 40, 40)
        assert next(loader.evaluation_inputs(np.arange(4))).shape == (4, 3, 40, 40)
    with loader_of(photo_config(made)) as loader:
        assert loader.batch(0).inputs.shape == (10, 3, 20, 24)


def test_vectors_pass_through_workers_as_they_are(tmp_path: Path) -> None:
    made = make_store(tmp_path / "features", np.full((3, 3), 6), shape=(11,))
    with loader_of(photo_config(made), workers=1) as loader:
        indices = loader._preparation.indices(1)
        assert torch.equal(list(loader.batches(0, 2))[1].inputs, made.inputs(indices))


# Who does the work


def test_workers_persist_until_they_are_closed(raw: Store) -> None:
    with loader_of(photo_config(raw), workers=2) as loader:
        list(loader.batches(0, 2))
        first = pids(loader)
        list(loader.evaluation_inputs(np.arange(5)))
        list(loader.batches(2, 4))
        assert pids(loader) == first
        assert len(set(first)) == 2
        loader.close()
        assert wait_until_gone(first) == []
        list(loader.batches(0, 1))
        assert not set(pids(loader)) & set(first)


def test_an_abandoned_run_does_not_leak_into_the_next(raw: Store) -> None:
    with loader_of(photo_config(raw), workers=0) as alone, loader_of(photo_config(raw), workers=2) as helped:
        assert contents(next(helped.batches(0, 9))) == contents(alone.batch(0))
        assert [contents(batch) for batch in helped.batches(5, 7)] == [contents(alone.batch(t)) for t in (5, 6)]


def test_two_runs_at_once_are_refused(raw: Store) -> None:
    with loader_of(photo_config(raw), workers=1) as loader:
        batches = loader.batches(0, 5)
        next(batches)
        list(loader.evaluation_inputs(np.arange(3)))
        with pytest.raises(AssertionError, match="another run began"):
            next(batches)


@pytest.mark.parametrize("pause", [0, 0.5])  # with results on their way, or waiting to be fetched
def test_a_killed_worker_is_an_error_and_not_a_hang(raw: Store, pause: float) -> None:
    with loader_of(photo_config(raw), workers=1) as loader:
        batches = loader.batches(0, 100)
        next(batches)
        time.sleep(pause)

        def kill() -> None:  # torch may raise as soon as it hears of the death
            os.kill(pids(loader)[0], signal.SIGKILL)
            list(batches)

        with pytest.raises(RuntimeError, match="worker"):
            kill()
        loader.close()
        assert len(list(loader.batches(0, 2))) == 2


ENDLESS = """
import sys, json
from ndcl.config import TrainConfig
from tests.ndcl.data.test_loader import *
if __name__ == "__main__":
    with loader_of(TrainConfig.from_dict(json.loads(sys.argv[1])), workers=2) as loader:
        for batch in loader.batches(0, 10**9):
            print(*pids(loader), flush=True)
            time.sleep(600)
"""


def test_workers_end_when_their_parent_is_killed(raw: Store) -> None:
    command = [sys.executable, "-c", ENDLESS, json.dumps(photo_config(raw).to_dict())]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    processes = [int(pid) for pid in process.stdout.readline().split()]
    assert len(processes) == 2
    assert all(is_alive(pid) for pid in processes)
    process.kill()
    process.wait()
    process.stdout.close()
    assert wait_until_gone(processes) == []


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_decoded_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    made = make_photos(tmp_path / "photos", "encoded")
    path = made.folder / "inputs-00000.arrow"
    content = path.read_bytes()
    path.write_bytes(content.replace(made.encoded(4), bytes(len(made.encoded(4)))))
    with loader_of(photo_config(made), workers=num_workers) as loader:
        with pytest.raises(
            UserError, match=r"data set photos: image 4\.jpg cannot be decoded \(.*\); import"
        ) as caught:
            list(loader.evaluation_inputs(np.arange(8)))
        assert "\n" not in str(caught.value)


def test_too_little_shared_memory_is_said_before_it_crashes(raw: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(workers_module.shutil, "disk_usage", lambda _: usage._replace(free=300_000))
    with (
        loader_of(photo_config(raw), workers=4) as loader,
        pytest.raises(UserError, match=r"4 workers need 1 MiB of shared memory, .* has 0 MiB free; lower data.workers"),
    ):
        loader.batches(0, 1)


@pytest.mark.parametrize(
    ("asked", "kind", "device", "threads", "expected"),
    [
        (None, "raw", CPU, 1, 0),
        (None, "raw", CPU, 8, 1),
        (None, "raw", CUDA, 8, 2),
        (None, "encoded", CUDA, 8, 7),
        (None, "encoded", CUDA, 64, 16),
        (None, "encoded", CUDA, 1, 0),
        (None, "small", CUDA, 8, 0),
        (0, "encoded", CUDA, 8, 0),
        (5, "small", CPU, 1, 5),
    ],
)
def test_the_number_of_workers_follows_from_data_and_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: int | None,
    kind: str,
    device: torch.device,
    threads: int,
    expected: int,
) -> None:
    small = make_store(tmp_path / "s", np.full((3, 3), 6)) if kind == "small" else make_photos(tmp_path / "p", kind)
    config = photo_config(small, data={"workers": asked})
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    with loader_of(config) as loader:
        loader._preparation.on_device = augments_on_gpu(small, config.data, on_gpu=device.type == "cuda")
        assert number_of_workers(loader._preparation, device) == expected


# On the device


def test_where_images_are_augmented(tmp_path: Path) -> None:
    made = {kind: make_photos(tmp_path / kind, kind) for kind in ("raw", "encoded")}
    made["small"] = make_store(tmp_path / "small", np.full((3, 3), 6))

    def augments(kind: str, place: str, on_gpu: bool) -> bool:
        return augments_on_gpu(made[kind], photo_config(made[kind], data={"augment_on": place}).data, on_gpu=on_gpu)

    assert augments("raw", "auto", True)
    assert augments("raw", "gpu", True)
    for kind, place, on_gpu in (("raw", "cpu", True), ("raw", "auto", False), ("encoded", "auto", True)):
        assert not augments(kind, place, on_gpu)
    for kind in ("small", "encoded"):
        with pytest.raises(UserError, match=f"data.augment_on: 'gpu' was asked for, but {kind} holds no raw photo"):
            augments(kind, "gpu", True)
    with pytest.raises(UserError, match="but the training runs on the CPU; set it to auto or cpu"):
        augments("raw", "gpu", False)


def test_augmix_stays_on_the_cpu(raw: Store) -> None:
    config = photo_config(raw, data={"augment": "augmix"}).data
    assert not augments_on_gpu(raw, config, on_gpu=True)
    assert augments_on_gpu(raw, dataclasses.replace(config, augment="trivial"), on_gpu=True)
    with pytest.raises(UserError, match=r"data\.augment_on: 'gpu' was asked for, but augmix needs the CPU; set it to"):
        augments_on_gpu(raw, dataclasses.replace(config, augment_on="gpu"), on_gpu=True)


@pytest.mark.parametrize("augment", ["default", "none", "randaugment"])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_left_to_the_device_comes_out_alike(
    raw: Store, monkeypatch: pytest.MonkeyPatch, augment: str, num_workers: int
) -> None:
    config = photo_config(raw, data={"augment": augment, "image_size": 64})
    with loader_of(config) as loader:
        expected = loader.batch(2)
        whole = list(loader.evaluation_inputs(np.arange(9)))
    monkeypatch.setattr(loader_module, "augments_on_gpu", lambda *_, **__: True)
    with loader_of(config, workers=num_workers) as loader:
        assert loader._preparation[0].shape == (10, 72, 80, 3)  # as stored
        (batch,) = loader.batches(2, 3)
        assert contents(batch)[1:] == contents(expected)[1:]
        assert batch.inputs.shape == (10, 3, 64, 64)
        assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
        assert (batch.inputs - expected.inputs).abs().mean() < 0.02
        assert (batch.inputs - expected.inputs.roll(1, 0)).abs().mean() > 0.2
        assert torch.equal(torch.cat(list(loader.evaluation_inputs(np.arange(9)))), torch.cat(whole))


def test_on_a_gpu_a_batch_is_made_beside_the_step_before(raw: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of events, with streams that only take notes."""
    events: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait_stream(self, other: "Stream") -> None:
            events.append(f"{self.name} waits for {other.name}")

    @contextlib.contextmanager
    def stream(chosen: Stream) -> Iterator[None]:
        events.append(f"on {chosen.name}")
        yield
        events.append(f"off {chosen.name}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side"))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("main"))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, used: events.append(f"kept for {used.name}"))
    with loader_of(photo_config(raw)) as loader:
        staged = list(loader.batches(0, 2))
        assert staged[0].layout.labels.shape == (10,)  # made beforehand, and so kept too
        for _ in loader_module._on_side_stream(iter(staged), CUDA):
            events.append("step")
    made = ["on side", "off side", "main waits for side", "kept for main", "step"]
    assert events == [*made[:3], "kept for main", *made[3:], *made, "on side", "off side"]


# Training on photographs


def test_a_training_resumes_exactly_with_another_number_of_workers(store: Store, tmp_path: Path) -> None:
    undisturbed = Training(photo_config(store, data={"workers": 0}))
    for evaluation in undisturbed.evaluations():
        undisturbed.save(tmp_path / str(evaluation.step))
    resumed = Training(photo_config(store, data={"workers": 2}))
    resumed.load(tmp_path / "2")
    assert [evaluation.step for evaluation in resumed.evaluations()] == [4]
    pairs = zip(undisturbed.network.parameters(), resumed.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert resumed.loader._workers is None  # no process is left behind


def test_a_training_that_is_dropped_leaves_no_workers(raw: Store) -> None:
    training = Training(photo_config(raw, data={"workers": 1}))
    evaluations = training.evaluations()
    next(evaluations)
    processes = pids(training.loader)
    evaluations.close()
    assert wait_until_gone(processes) == []


def test_the_network_is_built_for_the_size_that_is_delivered(raw: Store) -> None:
    for image_size, pixels in ((None, 72 * 80), (32, 32 * 32)):
        training = Training(photo_config(raw, data={"image_size": image_size}, num_steps=1))
        assert next(iter(training.network.parameters())).shape[1] == 3 * pixels
        assert len(list(itertools.islice(training.evaluations(), 1))) == 1


@pytest.mark.parametrize(("key", "value"), [("image_size", 7), ("workers", -1)])
def test_values_out_of_range_are_refused(raw: Store, key: str, value: int) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}: {value} is out of range"):
        photo_config(raw, data={key: value})
