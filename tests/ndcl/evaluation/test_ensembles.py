import dataclasses

import pytest
import torch

from ndcl.evaluation.calibration import fit_temperature
from ndcl.evaluation.ensembles import Combination, chosen_combination, combined, disagreement

GENERATOR = torch.Generator().manual_seed(3)
LOGITS = torch.randn((3, 7, 4), generator=GENERATOR, dtype=torch.float64)


def test_probabilities_are_averaged():
    answer = combined(LOGITS, Combination(of="probabilities", scales=(1.0, 1.0, 1.0)))
    torch.testing.assert_close(answer.softmax(dim=1), LOGITS.softmax(dim=2).mean(dim=0), rtol=0, atol=1e-14)
    torch.testing.assert_close(answer.exp().sum(dim=1), torch.ones(7, dtype=torch.float64))


def test_logits_are_averaged_each_by_its_scale():
    answer = combined(LOGITS, Combination(of="logits", scales=(2.0, 1.0, 0.5), temperature=2.0))
    expected = (2 * LOGITS[0] + LOGITS[1] + LOGITS[2] / 2) / 6
    torch.testing.assert_close(answer, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("of", ["probabilities", "logits"])
def test_of_one_member_the_answer_is_its_own(of):
    answer = combined(LOGITS[:1], Combination(of=of, scales=(1.0,)))
    torch.testing.assert_close(answer.softmax(dim=1), LOGITS[0].softmax(dim=1))


def test_disagreement_goes_from_0_to_1():
    certain = 100 * torch.eye(4, dtype=torch.float64)
    same = torch.stack([certain, certain])
    assert disagreement(same).abs().max() < 1e-12
    apart = torch.stack([certain, certain.roll(1, dims=1)])
    torch.testing.assert_close(disagreement(apart), torch.ones(4, dtype=torch.float64))
    assert ((disagreement(LOGITS) > 0) & (disagreement(LOGITS) < 1)).all()
    assert disagreement(LOGITS[:1]).abs().max() < 1e-12
    two_classes = torch.stack([certain[:2, :2], certain[:2, :2].flip(0), certain[:2, :2]])
    assert (disagreement(two_classes) <= 1).all()


def test_networks_are_combined_by_probabilities_with_a_fitted_temperature():
    labels = torch.arange(7) % 4
    found = chosen_combination([LOGITS], [labels], are_heads=False)
    assert (found.of, found.scales) == ("probabilities", (1.0, 1.0, 1.0))
    plain = combined(LOGITS, dataclasses.replace(found, temperature=1.0))
    assert found.temperature == fit_temperature(plain, labels)


def test_heads_are_scaled_only_where_that_wins():
    labels = torch.tensor([0, 1, 2, 3])
    right = torch.eye(4, dtype=torch.float64)
    wrong = right.roll(1, dims=1)
    # a single loud member outvotes two that are right, unless each is divided by its spread
    loud = torch.stack([right, right, 5 * wrong])
    found = chosen_combination([loud], [labels], are_heads=True)
    assert found.of == "logits"
    assert found.scales[2] < found.scales[0]
    assert (combined(loud, found).argmax(dim=1) == labels).all()
    # a loud member that is right stays loud
    loud = torch.stack([wrong, wrong, 5 * right])
    found = chosen_combination([loud], [labels], are_heads=True)
    assert found.scales == (1.0, 1.0, 1.0)


def test_heads_that_are_the_same_stay_as_they_are():
    one = LOGITS[:1].expand(3, -1, -1)
    assert chosen_combination([one], [torch.arange(7) % 4], are_heads=True).scales == pytest.approx((1.0, 1.0, 1.0))
