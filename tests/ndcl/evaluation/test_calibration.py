import math

import numpy as np
import pytest
import torch

from ndcl.evaluation.calibration import (
    COLDEST,
    calibration_of,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    selective,
)


def drawn(temperature: float, n: int = 20_000, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn from their softmax at `temperature`."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn((n, classes), generator=generator)
    labels = torch.multinomial((logits / temperature).softmax(dim=1), 1, generator=generator).squeeze(1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    logits, labels = drawn(temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_is_likelier():
    logits, labels = drawn(2.0, n=300)
    found = fit_temperature(logits, labels)

    def loss(temperature):
        return negative_log_likelihood(logits / temperature, labels, balanced=False)

    assert loss(found) < min(loss(found * 1.001), loss(found / 1.001))


def test_what_is_right_throughout_is_kept_from_certainty():
    logits = torch.eye(4)
    assert fit_temperature(logits, torch.arange(4)) == pytest.approx(COLDEST)
    assert fit_temperature(logits[:0], torch.zeros(0, dtype=torch.long)) == 1.0


def test_the_likelihood_counts_each_class_as_much():
    shares = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.8, 0.2]])
    labels = torch.tensor([0, 0, 1])
    assert negative_log_likelihood(shares.log(), labels) == pytest.approx((math.log(2) + math.log(5)) / 2)
    expected = (2 * math.log(2) + math.log(5)) / 3
    assert negative_log_likelihood(shares.log(), labels, balanced=False) == pytest.approx(expected)


def test_the_calibration_error_by_hand():
    # two images at confidence 0.9, one of them right; two at 0.6, both right
    shares = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    error = expected_calibration_error(shares.log(), torch.tensor([0, 1, 0, 0]))
    assert error == pytest.approx((2 * abs(0.5 - 0.9) + 2 * abs(1 - 0.6)) / 4, abs=1e-6)


def test_a_calibrated_model_has_next_to_no_error_and_a_bold_one_does():
    assert expected_calibration_error(*drawn(1.0)) < 0.02
    logits, labels = drawn(3.0)
    assert expected_calibration_error(logits, labels) > 0.1
    assert expected_calibration_error(logits / fit_temperature(logits, labels), labels) < 0.02


def test_the_temperature_never_sees_the_target():
    logits, labels = drawn(2.0, n=200)
    source = [(logits[:100], labels[:100].numpy()), (logits[100:], labels[100:].numpy())]
    one = calibration_of(source, (logits, labels.numpy()))
    other = calibration_of(source, (-logits, labels.numpy()))
    assert one.temperature == other.temperature
    assert one.source == other.source
    assert one.target.nll != other.target.nll


def test_the_most_confident_are_told_from_the_others():
    shares = torch.linspace(0.99, 0.55, 20)
    logits = torch.stack([shares, 1 - shares], dim=1).log()
    labels = torch.tensor([0] * 10 + [1] * 10)  # the more confident half is right
    found = selective(logits, labels)
    assert found.num_images == 20
    assert found.accuracies[:10] == (1.0,) * 10
    assert found.accuracies[-1] == 0.5
    threshold, coverage = found.threshold(0.9)
    kept = shares.double() >= threshold - 1e-6
    assert kept.sum() == 11
    assert coverage == pytest.approx(11 / 20)
    assert (labels[kept] == 0).double().mean() >= 0.9
    assert found.threshold(0.5) == (pytest.approx(0.55), 1.0), "nothing is known of a less confident image"
    assert found.threshold(0) == (0.0, 1.0)
    assert selective(logits, 1 - labels).threshold(0.9) is None
    assert len(selective(logits[:3], labels[:3]).confidences) == 20  # of fewer images than shares


def test_a_target_without_images_has_no_numbers():
    logits, labels = drawn(1.0, n=50)
    found = calibration_of([(logits, labels.numpy())], (logits[:0], np.zeros(0, np.int64)))
    assert set(vars(found.target).values()) == {None}
    assert found.source.nll is not None
