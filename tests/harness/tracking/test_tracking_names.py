"""Names that MLflow takes: short, all different, the same wherever they come from, and legible on its pages."""

import itertools
import re
import unicodedata

import pytest
from mlflow.utils.validation import _validate_metric_name

from harness.records import StudyKey
from harness.tracking.names import MAX_KEY_LENGTH, MAX_RUN_NAME_LENGTH, RunNames, distinct_parts, valid_key

NAMES = (
    *("cat", "Cat", "cat ", "C+", "C#", "C_", "a/b", "a_b", "a b", "", " ", ".", "..", "Real World", "Real_World"),
    *("Grüße", unicodedata.normalize("NFD", "Grüße"), "日本", "日木", "a[0]", "a(0)", "😀", "😁", "it's", 'q"q', "\n"),
    *("x" * 250, "x" * 251, "x" * 300, "x" * 299 + "y", "ü" * 300, "tab\there", "a\0b", "%41", "a\\b", "a|b"),
)


def fold(name: str) -> str:
    """What MySQL takes for the same."""
    letters = unicodedata.normalize("NFKD", name.casefold().strip())
    return "".join(c for c in letters if not unicodedata.combining(c))


def test_any_names_become_parts_that_mlflow_takes_and_no_database_confuses() -> None:
    parts = distinct_parts(NAMES)
    assert list(parts) == list(NAMES)
    assert len({fold(part) for part in parts.values()}) == len(NAMES)
    for part in parts.values():
        assert "/" not in part
        name = f"validation/per_class/{part}/worst_class"
        _validate_metric_name(name)
        assert len(name) <= MAX_KEY_LENGTH
        assert valid_key(name) == name


@pytest.mark.parametrize("name", ["cat", "Real World", "long_tail-20", "日本", "Grüße", "a:b.c"])
def test_names_that_mlflow_takes_stay(name: str) -> None:
    assert distinct_parts([name, "another"])[name] == name


def test_names_are_legible_and_tell_themselves_apart_only_where_they_must() -> None:
    assert distinct_parts(["a(b)", "c"]) == {"a(b)": "a_b_", "c": "c"}
    plain, sharp = distinct_parts(["C+", "C#"]).values()
    assert re.fullmatch(r"C_-[0-9a-f]{8}", plain)
    assert re.fullmatch(r"C_-[0-9a-f]{8}", sharp)
    assert distinct_parts(["a/b", "a_b"])["a_b"] == "a_b"


def test_a_name_does_not_depend_on_the_order_of_the_others() -> None:
    for names in itertools.permutations(["C+", "C#", "C_", "c"]):
        assert dict(sorted(distinct_parts(names).items())) == distinct_parts(sorted(names))


@pytest.mark.parametrize("key", ["losses/total", "optimizer.learning_rate", "best.algorithm.alpha"])
def test_keys_that_mlflow_takes_stay(key: str) -> None:
    assert valid_key(key) == key


@pytest.mark.parametrize("key", ["a//b", "/a", "a/", "a/../b", "ä" * 300, "(", "", "/"])
def test_any_key_becomes_one_that_mlflow_takes(key: str) -> None:
    _validate_metric_name(valid_key(key))
    assert len(valid_key(key)) <= MAX_KEY_LENGTH


def study(algorithm: str = "ndcl", dataset: str = "parts", setting: str = "natural", target: str = "riga") -> StudyKey:
    return StudyKey(algorithm=algorithm, dataset=dataset, setting=setting, target=target)


def test_runs_are_called_by_what_they_differ_in() -> None:
    names = RunNames([study(), study(target="oslo")])
    assert names.of_study(study()) == "riga · ndcl"
    assert names.of_trial(study(), "search", 3) == "search-003 · riga · ndcl"
    assert RunNames([study(), study(setting="idg")]).of_study(study()) == "riga · ndcl · natural"
    assert RunNames([study(), study(dataset="digits")]).of_study(study()) == "riga · ndcl · parts"


def test_no_run_name_is_longer_than_a_database_takes() -> None:
    assert len(RunNames().of_study(study(target="x" * 300))) == MAX_RUN_NAME_LENGTH
