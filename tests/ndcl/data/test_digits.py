"""The embedded digits: the same everywhere, balanced, and with nothing shared between domains."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ndcl.data import Store, domains_of, open_dataset
from ndcl.data.digits import digits, sheet, styles
from ndcl.data.optional import optional_import
from ndcl.errors import UserError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_dataset("digits", str(tmp_path_factory.mktemp("data")))


def test_every_domain_has_87_images_of_every_class(store: Store) -> None:
    assert store.domains == domains_of("digits") == ("scan", "texture", "print", "sign")
    assert store.classes == tuple("0123456789")
    assert np.array_equal(store.available(), np.full((4, 10), 87))
    assert store.input_shape == (28, 28, 3)


def test_no_two_images_are_the_same(store: Store) -> None:
    images = store.inputs(np.arange(len(store))).numpy()
    assert len({image.tobytes() for image in images}) == len(store)


def test_no_handwriting_is_in_two_domains() -> None:
    scan, texture = (digits.written_digits(domain) for domain in ("scan", "texture"))
    assert scan.shape == texture.shape == (10, 87, 8, 8)
    sources = [image.tobytes() for half in (scan, texture) for image in half.reshape(-1, 8, 8)]
    assert len(set(sources)) == 2 * 10 * 87


def test_handwriting_shows_the_digit_it_is_labelled_with(store: Store) -> None:
    """Class means differ from each other, and most images are nearest to their own class's mean."""
    for domain in (0, 2):
        members = np.flatnonzero(store.domain_ids == domain)
        images = store.inputs(members).numpy().reshape(len(members), -1).astype(float)
        means = np.stack([images[store.labels[members] == k].mean(axis=0) for k in range(10)])
        nearest = ((images[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        assert (nearest == store.labels[members]).mean() > 0.5


def test_no_font_is_in_two_domains() -> None:
    assert not set(styles.PRINT_FONTS) & set(styles.SIGN_FONTS)
    folder = styles._font_folder()
    contents = [(folder / font).read_bytes() for font in styles.PRINT_FONTS + styles.SIGN_FONTS]
    assert len(set(contents)) == 19


def test_domains_look_different(store: Store) -> None:
    brightness = [store.inputs(np.flatnonzero(store.domain_ids == d)).float().mean().item() for d in range(4)]
    colour = [store.inputs(np.flatnonzero(store.domain_ids == d)).float().std(dim=3).mean().item() for d in range(4)]
    assert brightness[2] > 150 > 80 > brightness[0]  # dark on paper, white on black
    assert colour[0] == 0
    assert colour[3] > 30  # signs are coloured


def test_another_process_draws_the_same_images() -> None:
    code = (
        "from ndcl.data.digits.digits import make_images; import hashlib;"
        "print(hashlib.sha256(make_images(2)[0].tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    images, labels, domain_ids = digits.make_images(2)
    assert run.stdout.strip() == hashlib.sha256(images.tobytes()).hexdigest(), run.stderr
    assert labels.tolist() == [k for _ in range(4) for k in range(10) for _ in range(2)]
    assert domain_ids.tolist() == [d for d in range(4) for _ in range(20)]


def test_an_image_does_not_depend_on_how_many_are_drawn(store: Store) -> None:
    few, _, _ = digits.make_images(1)
    first = np.arange(40) * 87
    assert np.array_equal(few, store.inputs(first).numpy())


@pytest.mark.parametrize(("module", "package"), [("sklearn", "scikit-learn"), ("PIL", "pillow"), ("matplotlib", "mat")])
def test_a_missing_package_is_named(module: str, package: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from ndcl.data import open_dataset; from ndcl.errors import UserError\n"
        f"try: open_dataset('digits', {str(tmp_path)!r})\n"
        "except UserError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"install it by: pip install {package}" in run.stdout, run.stderr
    assert not (tmp_path / "digits").exists()


def test_the_sheet_shows_four_bands_of_ten_digits(tmp_path: Path) -> None:
    pixels = sheet.sheet()
    assert pixels.shape == ((4 * 2 * 28 + 3 * 3) * 2, 10 * 2 * 28 * 2, 3)
    assert (pixels[2 * 56 : 2 * 56 + 6] == 255).all()  # the gap below the first band
    sheet.save(tmp_path / "pictures" / "digits.png")
    assert (tmp_path / "pictures" / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_module_is_a_user_error() -> None:
    with pytest.raises(UserError, match="package nothing_of_that_name is not installed"):
        optional_import("nothing_of_that_name.part")
