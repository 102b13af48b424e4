"""Everything that one training needs to know of its data."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ndcl.config import NO_TARGET, DataConfig, ImbalanceConfig
from ndcl.data.datasets import open_dataset
from ndcl.data.splits import Split, seed_hash, split_domain
from ndcl.data.store.store import Store
from ndcl.errors import UserError
from ndcl.imbalance import count_table, shot_groups


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A data set with a target domain, thinned and split. All indices are those of the store, and disjoint."""

    store: Store
    source_domains: tuple[str, ...]
    """In the store's order, the target left out."""
    target_domain: str
    counts: NDArray[np.int64]
    """[S, K] training images of each source domain and class."""
    groups: NDArray[np.int64]
    """[K] index of each class in `ndcl.imbalance.shots.SHOT_GROUPS`."""
    train: tuple[NDArray[np.int64], ...]
    """Of each source domain."""
    validation: tuple[NDArray[np.int64], ...]
    """Of each source domain, as many of each class."""
    target_test: NDArray[np.int64]
    """Empty if no domain is left out."""
    target_oracle: NDArray[np.int64]
    """Validation images of the target domain: for model selection by oracle alone."""


def build_problem(data: DataConfig, imbalance: ImbalanceConfig) -> Problem:
    """Open the data set and choose its images; the same configs give the same indices everywhere.

    Raises UserError for an unknown data set, target or setting, or a setting that does not suit the data set.
    """
    store = open_dataset(data.name, data.folder)
    has_target = data.target != NO_TARGET or NO_TARGET in store.domains
    if has_target and len(store.domains) < 2:
        raise UserError(f"data.name: {data.name} has a single domain; a target and at least one source are needed")
    available = store.available()
    table = count_table(imbalance, store.name, store.domains, store.classes, available, data.target)
    target = store.domains.index(data.target) if has_target else None
    sources = [e for e in range(len(store.domains)) if e != target]
    # A class that a domain lacks altogether has no validation images there either.
    splits = [
        _split(store, e, row, np.where(available[e] > 0, table.validation, 0), imbalance.seed)
        for e, row in zip(sources, table.counts, strict=True)
    ]
    nothing = np.zeros(0, np.int64)
    held_out = Split(train=nothing, validation=nothing, test=nothing)
    if target is not None:
        # A class may be rare in the target domain: at most half of it goes to the oracle.
        oracle = np.minimum(available[target] // 2, table.validation)
        held_out = _split(store, target, np.zeros_like(oracle), oracle, imbalance.seed)
    return Problem(
        store=store,
        source_domains=tuple(store.domains[e] for e in sources),
        target_domain=data.target,
        counts=table.counts,
        groups=shot_groups(table.counts, table.many_above, table.few_below),
        train=tuple(split.train for split in splits),
        validation=tuple(split.validation for split in splits),
        target_test=held_out.test,
        target_oracle=held_out.validation,
    )


def without_domain(problem: Problem, domain: str) -> Problem:
    """The problem in which a source domain is the unseen one, and the target domain does not occur at all.

    `target_test` are the images of `domain` that the training and the validation of `problem` had.
    Raises UserError if no other source domain is left.
    """
    left_out = problem.source_domains.index(domain)
    kept = [e for e in range(len(problem.source_domains)) if e != left_out]
    if not kept:
        raise UserError(f"leaving out '{domain}', the only source domain, leaves nothing to train on; add a domain")
    return Problem(
        store=problem.store,
        source_domains=tuple(problem.source_domains[e] for e in kept),
        target_domain=domain,
        counts=problem.counts[kept],
        groups=problem.groups,
        train=tuple(problem.train[e] for e in kept),
        validation=tuple(problem.validation[e] for e in kept),
        target_test=np.concatenate([problem.train[left_out], problem.validation[left_out]]),
        target_oracle=np.zeros(0, np.int64),
    )


def without_target_test(problem: Problem) -> Problem:
    """The problem whose target domain has no test images: nothing of it is looked at but for the oracle."""
    return replace(problem, target_test=np.zeros(0, np.int64))


def _split(store: Store, domain: int, counts: NDArray[np.int64], validation: NDArray[np.int64], seed: int) -> Split:
    """Split of one domain, in the store's indices."""
    members = np.flatnonzero(store.domain_ids == domain)
    split = split_domain(store.labels[members], counts, validation, seed_hash(seed, domain))
    return Split(train=members[split.train], validation=members[split.validation], test=members[split.test])
