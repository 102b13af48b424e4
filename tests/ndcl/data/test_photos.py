"""Photographs: torchvision's transforms, drawn as torchvision draws them, image by image or all at once."""

import numpy as np
import pytest
import torch
from torchvision import transforms as reference
from torchvision.transforms.v2 import functional

from ndcl.data import transforms_photo as photo
from ndcl.data.transforms_photo import Draws, augment_batch, augment_each, crop_boxes, draw


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(num: int, height: int = 60, width: int = 50, seed: int = 0) -> torch.Tensor:
    """Images uint8 [num, height, width, 3] with structure of several pixels, as photographs have."""
    coarse = torch.randint(0, 256, (num, 3, height // 8 + 1, width // 8 + 1), dtype=torch.uint8, generator=seeded(seed))
    return functional.resize(coarse, [height, width]).permute(0, 2, 3, 1).contiguous()


def neutral(num: int, **changes: np.ndarray) -> Draws:
    """Draws that change nothing but the size."""
    values = vars(draw(num, seeded(0))) | {
        "areas": np.ones((num, photo.TRIES)),
        "ratios": np.ones((num, photo.TRIES)),
        "flips": np.zeros(num, bool),
        "factors": np.tile(photo.NEUTRAL, (num, 1)).astype(np.float32),
        "grays": np.zeros(num, bool),
    }
    return Draws(**(values | changes))


@pytest.mark.parametrize("amount", [0.7, 0.93, 1.0, 1.3])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colours_are_adjusted_as_by_torchvision(name: str, amount: float) -> None:
    x = torch.rand(3, 3, 20, 30, generator=seeded(1))
    factors = torch.full((3, 1, 1, 1), amount)
    mine = getattr(photo, f"adjust_{name}")(255 * x, factors) / 255
    assert torch.allclose(mine, getattr(functional, f"adjust_{name}")(x, amount), atol=2e-6)


@pytest.mark.parametrize("turn", [-0.3, -0.1, 0.0, 0.17, 0.3, 0.5])
def test_hue_turns_as_by_torchvision(turn: float) -> None:
    steps = torch.linspace(0, 1, 9)
    every = torch.cartesian_prod(steps, steps, steps).T.reshape(1, 3, 27, 27)  # ties, gray, black and white included
    for x in (every, torch.rand(2, 3, 40, 40, generator=seeded(2))):
        mine = photo.adjust_hue(255 * x, torch.full((len(x), 1, 1, 1), turn)) / 255
        assert torch.allclose(mine, functional.adjust_hue(x, turn), atol=2e-5)


def test_a_neutral_augmentation_is_a_resize() -> None:
    x = smooth(4, 64, 64)
    for size in ((64, 64), (48, 48), (30, 41)):
        expected = functional.resize(x.permute(0, 3, 1, 2), list(size), antialias=True).int()
        for result in (augment_each(x.permute(0, 3, 1, 2), size, neutral(4)), augment_batch(x, size, neutral(4))):
            assert result.dtype == torch.uint8
            assert (result.int() - expected).abs().max() <= 1


def test_image_by_image_and_all_at_once_agree() -> None:
    x, draws = smooth(24, 70, 90), draw(24, seeded(5))
    one = augment_each(x.permute(0, 3, 1, 2), (48, 40), draws).float()
    all_at_once = augment_batch(x, (48, 40), draws).float()
    # torchvision rounds between rows and columns, and hue magnifies that in places
    assert (one - all_at_once).abs().mean() < 0.6
    assert (one - all_at_once).abs().quantile(0.999) <= 4
    assert (one - one.roll(1, 0)).abs().mean() > 20  # else the images would be alike, and the above say nothing


@pytest.mark.parametrize("height_width", [(40, 60), (61, 33), (200, 20)])
def test_each_way_of_cropping_takes_the_box_and_mirrors(height_width: tuple[int, int]) -> None:
    x = smooth(12, *height_width)
    draws = draw(12, seeded(3))
    plain = neutral(12, areas=draws.areas, ratios=draws.ratios, corners=draws.corners, flips=draws.flips)
    boxes = crop_boxes(np.tile(height_width, (12, 1)), plain)
    each = augment_each(x.permute(0, 3, 1, 2), (32, 32), plain)
    at_once = augment_batch(x, (32, 32), plain)
    assert 0 < plain.flips.sum() < 12
    for image, box, flip, one, other in zip(x, boxes.tolist(), plain.flips, each, at_once, strict=True):
        expected = functional.resized_crop(image.permute(2, 0, 1), *box, [32, 32], antialias=True)
        expected = expected.flip(2) if flip else expected
        assert (one.int() - expected.int()).abs().max() <= 1
        assert (other.int() - expected.int()).abs().max() <= 1


def test_crops_are_distributed_as_torchvisions() -> None:
    num, size = 4000, (120, 90)
    boxes = crop_boxes(np.tile(size, (num, 1)), draw(num, seeded(0))).astype(float)
    torch.manual_seed(0)
    image = torch.zeros(3, *size)
    theirs = [reference.RandomResizedCrop.get_params(image, photo.SCALE, photo.RATIO) for _ in range(num)]
    for mine, other in zip(boxes.T, np.array(theirs, float).T, strict=True):
        assert abs(mine.mean() - other.mean()) < 4 * np.hypot(mine.std(), other.std()) / np.sqrt(num)
        assert mine.std() == pytest.approx(other.std(), rel=0.06)
        assert np.abs(np.quantile(mine, (0.01, 0.5, 0.99)) - np.quantile(other, (0.01, 0.5, 0.99))).max() <= 2


def test_boxes_lie_within_images_of_any_size() -> None:
    sizes = np.array([[1, 1], [1, 500], [500, 1], [2, 3], [227, 227], [20_000, 31]] * 20)
    top, left, height, width = crop_boxes(sizes, draw(len(sizes), seeded(0))).T
    assert min(top.min(), left.min()) >= 0
    assert min(height.min(), width.min()) >= 1
    assert (top + height <= sizes[:, 0]).all()
    assert (left + width <= sizes[:, 1]).all()


def test_an_image_too_long_for_any_crop_gives_its_middle_as_by_torchvision() -> None:
    boxes = crop_boxes(np.array([[1000, 20], [20, 1000]]), draw(2, seeded(0)))
    for box, size in zip(boxes.tolist(), ((1000, 20), (20, 1000)), strict=True):
        theirs = reference.RandomResizedCrop.get_params(torch.zeros(3, *size), photo.SCALE, photo.RATIO)
        assert tuple(box) == theirs


def test_the_draws_have_the_distributions_of_the_release() -> None:
    draws = draw(8000, seeded(0))
    assert np.abs(draws.factors - photo.NEUTRAL).max() <= photo.JITTER
    assert np.allclose(draws.factors.mean(axis=0), photo.NEUTRAL, atol=0.01)
    assert np.allclose(draws.factors.std(axis=0), photo.JITTER / np.sqrt(3), atol=0.01)
    assert draws.flips.mean() == pytest.approx(0.5, abs=0.03)
    assert draws.grays.mean() == pytest.approx(0.1, abs=0.02)
    orders, counts = np.unique(draws.orders, axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 8000 / 24 * 0.75


def test_the_order_of_the_colour_steps_counts() -> None:
    x = smooth(1)
    factors = np.array([[1.3, 0.7, 1.3, 0.2]], np.float32)
    results = [
        augment_batch(x, (60, 50), neutral(1, factors=factors, orders=np.array([order])))
        for order in ((0, 1, 2, 3), (3, 2, 1, 0))
    ]
    assert not torch.equal(*results)
    expected = x.permute(0, 3, 1, 2)[:, :] / 255
    for adjust, factor in zip(photo.ADJUSTMENTS, factors[0], strict=True):
        expected = getattr(functional, adjust.__name__)(expected, float(factor))
    assert ((results[0] / 255 - expected).abs() < 0.01).all()


def test_a_gray_image_has_one_value_a_pixel() -> None:
    x = smooth(2)
    result = augment_batch(x, (60, 50), neutral(2, grays=np.array([True, False])))
    assert (result[0] == result[0][:1]).all()
    assert not (result[1] == result[1][:1]).all()


def test_the_generator_is_the_only_source_of_randomness() -> None:
    x = smooth(8)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = augment_batch(x, (32, 32), draw(8, seeded(1)))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(augment_batch(x, (32, 32), draw(8, seeded(1))), first)
    assert not torch.equal(augment_batch(x, (32, 32), draw(8, seeded(2))), first)
    assert torch.equal(x, smooth(8))  # the input is not written to


def test_equal_images_are_changed_differently() -> None:
    x = smooth(1).expand(16, -1, -1, -1)
    for result in (
        augment_batch(x, (32, 32), draw(16, seeded(0))),
        augment_each(x.permute(0, 3, 1, 2), (32, 32), draw(16, seeded(0))),
    ):
        assert len({image.numpy().tobytes() for image in result}) == 16
