"""Transforms: randomness from the generator alone, each image by itself, and exact where they can be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ndcl.data import transforms
from ndcl.data.transforms import RowDraws, augment_digits, augmentation_for, flip_horizontally, to_inputs, unchanged
from tests.made.made_store import make_store


def images(num: int, size: int = 28) -> torch.Tensor:
    return torch.randint(0, 256, (num, size, size + 1, 3), dtype=torch.uint8, generator=seeded(99))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(num: int, seed: int, rows: slice = slice(None)) -> RowDraws:
    return RowDraws(seeded(seed), num, rows)


@pytest.mark.parametrize("augment", [augment_digits, flip_horizontally])
def test_the_generator_is_the_only_source_of_randomness(augment: transforms.Augmentation) -> None:
    x = images(64)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = augment(x, draws(64, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(augment(x, draws(64, 1)), first)
    assert not torch.equal(augment(x, draws(64, 2)), first)
    assert first.dtype == torch.uint8
    assert first.shape == x.shape
    assert torch.equal(x, images(64))  # the input is not written to


@pytest.mark.parametrize("augment", [augment_digits, flip_horizontally])
def test_some_rows_alone_are_changed_as_in_the_whole_batch(augment: transforms.Augmentation) -> None:
    x, part = images(64), slice(11, 30)
    assert torch.equal(augment(x[part], draws(64, 1, part)), augment(x, draws(64, 1))[part])
    assert not torch.equal(augment(x[part], draws(19, 1)), augment(x, draws(64, 1))[part])


def test_equal_images_are_changed_differently() -> None:
    same = images(1).expand(200, -1, -1, -1)
    changed = augment_digits(same, draws(200, 0)).flatten(1)
    assert len({row.numpy().tobytes() for row in changed}) > 150


def test_a_shift_moves_whole_images_and_repeats_the_border() -> None:
    x = images(300)
    moved = transforms._shift(x, draws(300, 0))
    padded = np.pad(x.numpy(), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    seen = set()
    for before, after in zip(padded, moved.numpy(), strict=True):
        fits = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if np.array_equal(before[down : down + 28, right : right + 29], after)
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) == 25


def colour_change(num: int) -> tuple[np.ndarray, np.ndarray]:
    x = images(num)
    return x.numpy().astype(float), transforms._recolour(x, draws(num, 0)).numpy().astype(float)


def test_colours_change_by_gray_inversion_and_contrast_as_often_as_said() -> None:
    before, after = colour_change(1000)
    gray = np.array([(np.ptp(image, axis=2) == 0).all() for image in after])
    assert 0.25 < gray.mean() < 0.35
    slopes = []
    for old, new, is_gray in zip(before, after, gray, strict=True):
        old = old.mean(axis=2, keepdims=True).repeat(3, axis=2) if is_gray else old
        inside = (new > 0) & (new < 255)
        slope = np.polyfit(old[inside] - 127.5, new[inside] - 127.5, 1)[0]
        assert np.abs(127.5 + slope * (old - 127.5) - new)[inside].max() < 1.5  # rounding, and the fit's own error
        slopes.append(slope)
    slopes = np.array(slopes)
    assert 0.25 < (slopes < 0).mean() < 0.35
    assert 0.45 < (np.abs(np.abs(slopes) - 1) < 0.005).mean() < 0.56
    assert np.abs(slopes).min() > 0.49
    assert np.abs(slopes).max() < 1.51


def test_untouched_and_inverted_images_are_exact() -> None:
    x = images(400)
    after = transforms._recolour(x, draws(400, 0))
    same = (after == x).flatten(1).all(1).sum()
    inverted = (after == 255 - x).flatten(1).all(1).sum()
    assert same > 60
    assert inverted > 20


def test_flips_mirror_half_of_the_images() -> None:
    x = images(400)
    after = flip_horizontally(x, draws(400, 0))
    mirrored = (after == x.flip(2)).flatten(1).all(1)
    assert torch.equal(after[~mirrored], x[~mirrored])
    assert 160 < mirrored.sum() < 240


def test_small_images_are_scaled_to_minus_one_and_one() -> None:
    x = images(3)
    inputs = to_inputs(x)
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(inputs, (x.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5, atol=1e-6)
    assert to_inputs(torch.zeros(1, 4, 4, 3, dtype=torch.uint8)).unique().tolist() == [-1]
    assert to_inputs(torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)).unique().tolist() == [1]


def test_large_images_are_normalised_as_imagenets() -> None:
    x = images(2, size=64)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    assert torch.allclose(to_inputs(x), (x.permute(0, 3, 1, 2) / 255 - mean) / std, atol=1e-5)


def test_augmented_images_are_normalised_like_any_other() -> None:
    augmented = augment_digits(images(5), draws(5, 0))
    assert torch.equal(to_inputs(augmented), to_inputs(augmented.clone(memory_format=torch.contiguous_format)))


def test_vectors_pass_through() -> None:
    x = torch.randn(4, 7)
    assert to_inputs(x) is x
    assert unchanged(x, draws(4, 0)) is x


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [("digits", (4, 4, 3), augment_digits), ("pacs", (4, 4, 3), flip_horizontally), ("tabular", (6,), unchanged)],
)
def test_the_data_set_decides_on_the_augmentation(
    tmp_path: Path, name: str, shape: tuple[int, ...], expected: transforms.Augmentation
) -> None:
    store = make_store(tmp_path / name, np.ones((3, 3), int), shape=shape)
    assert augmentation_for(store) is expected
