"""Training images per source domain and class, for each setting that a config can name.

Legend: D domains of the data set, S = D - 1 source domains (in the data set's order), K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ndcl.config import NO_TARGET, ImbalanceConfig
from ndcl.errors import UserError, unknown_name
from ndcl.imbalance import long_tail, released
from ndcl.imbalance.generators import GENERATORS, generate
from ndcl.imbalance.sources import SourceCounts
from ndcl.ranges import require

DEFAULT_VALIDATION = 5
DEFAULT_MANY_ABOVE = 100.0
DEFAULT_FEW_BELOW = 20.0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a setting asks of the source domains, and how its classes are grouped."""

    counts: NDArray[np.int64]
    """[S, K] training images."""
    validation: int
    """Images per class and source domain held out for model selection, where the domain has the class at all."""
    many_above: float
    few_below: float


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question to a setting."""

    imbalance: ImbalanceConfig
    dataset: str
    domains: tuple[str, ...]
    classes: tuple[str, ...]
    available: NDArray[np.int64]
    """[D, K] images in the data set."""
    target: str

    def sources(self, target: str) -> SourceCounts:
        """The source domains of `target`, without their validation images."""
        kept = [e for e, domain in enumerate(self.domains) if domain != target]
        validation = DEFAULT_VALIDATION if self.imbalance.validation is None else self.imbalance.validation
        return SourceCounts(
            target=target,
            domains=tuple(self.domains[e] for e in kept),
            classes=self.classes,
            available=np.maximum(self.available[kept] - validation, 0),
        )


def count_table(
    imbalance: ImbalanceConfig,
    dataset: str,
    domains: Sequence[str],
    classes: Sequence[str],
    available: NDArray[np.int64],
    target: str,
) -> Counts:
    """The training images that `imbalance` asks for when `target` is unseen; `available` [D, K] is left as it is.

    Raises UserError for an unknown setting, a key that the setting does not use or lacks, a table for another data
    set, or more images than a domain has (naming domain, class and numbers).
    """
    if target not in domains and target != NO_TARGET:
        raise unknown_name(f"target domain of {dataset}:", target, domains)
    require(imbalance.seed < 2**32, "imbalance.seed", imbalance.seed, "it must be below 2^32")
    request = Request(
        imbalance=imbalance,
        dataset=dataset,
        domains=tuple(domains),
        classes=tuple(classes),
        available=np.array(available, np.int64),
        target=target,
    )
    setting = _setting(imbalance.setting)
    _refuse_unused(imbalance, setting.keys)
    counts = setting.counts(request)
    _check_supply(request, counts)
    return counts


def _natural(request: Request) -> Counts:
    return _counts(request, request.sources(request.target).available)


def _long_tail(request: Request) -> Counts:
    imbalance, domains = request.imbalance, request.domains
    sources = request.sources(request.target)
    per_domain = imbalance.class_order == "per_domain"
    ranks = long_tail.class_ranks(len(domains), len(request.classes), imbalance.seed, per_domain=per_domain)
    kept = [e for e, domain in enumerate(domains) if domain != request.target]
    counts = long_tail.long_tail(sources, ranks[kept], imbalance.ratio, imbalance.counts)
    if imbalance.counts is not None:  # what a domain lacks is not asked of it
        counts = np.where(request.available[kept] > 0, counts, 0)
    return _counts(request, counts)


def _released(request: Request) -> Counts:
    name = request.imbalance.setting.removeprefix("released/")
    if request.target not in request.domains:
        raise UserError(
            f"imbalance.setting: {request.imbalance.setting} has a table for each target domain, none for a training "
            "without one; use natural, long_tail or a generator"
        )
    table = released.released_table(name, request.dataset, request.domains, request.classes, request.target)
    return _counts(request, table.counts, table.validation, table.many_above, table.few_below)


def _generated(request: Request) -> Counts:
    """Targets take their random draws one after the other, as in the release, so all before this one are made too."""
    imbalance = request.imbalance
    rng = np.random.RandomState(imbalance.seed)
    for target in dict.fromkeys((*request.domains, request.target)):  # without a target, that of all domains comes last
        counts = generate(imbalance.setting, imbalance.parameters, request.sources(target), rng)
        if target == request.target:
            break
    return _counts(request, counts)


def _counts(
    request: Request,
    counts: NDArray[np.int64],
    validation: int = DEFAULT_VALIDATION,
    many_above: float = DEFAULT_MANY_ABOVE,
    few_below: float = DEFAULT_FEW_BELOW,
) -> Counts:
    """`counts`, with the config's values where it has any, else those given."""
    own = request.imbalance
    return Counts(
        counts=counts,
        validation=validation if own.validation is None else own.validation,
        many_above=many_above if own.many_above is None else own.many_above,
        few_below=few_below if own.few_below is None else own.few_below,
    )


@dataclass(frozen=True)
class _Setting:
    counts: Callable[[Request], Counts]
    keys: tuple[str, ...] = ()
    """Keys of ImbalanceConfig that it uses besides those that all use."""


SETTINGS: dict[str, _Setting] = {
    "natural": _Setting(_natural),
    "long_tail": _Setting(_long_tail, ("ratio", "counts", "class_order", "seed")),
    **{f"released/{name}": _Setting(_released) for name in released.SETTING_NAMES},
    **{name: _Setting(_generated, ("parameters", "seed")) for name in GENERATORS},
}
"""Every name that `imbalance.setting` may have."""
_COMMON_KEYS = ("setting", "validation", "many_above", "few_below", "seed")


def _setting(name: str) -> _Setting:
    if name not in SETTINGS:
        raise unknown_name("imbalance setting", name, SETTINGS)
    return SETTINGS[name]


def _refuse_unused(imbalance: ImbalanceConfig, used: tuple[str, ...]) -> None:
    """A key that is given but has no effect is a mistake. The seed always has one: it also splits the images."""
    defaults = ImbalanceConfig()
    for key in (field.name for field in fields(imbalance)):
        if key not in (*_COMMON_KEYS, *used) and getattr(imbalance, key) != getattr(defaults, key):
            raise UserError(f"imbalance.{key}: the setting {imbalance.setting} does not use it; remove it")


def _check_supply(request: Request, counts: Counts) -> None:
    held = np.where(request.available > 0, counts.validation, 0)
    sources = [e for e, domain in enumerate(request.domains) if domain != request.target]
    for row, e in zip(counts.counts, sources, strict=True):
        for k in np.flatnonzero(row + held[e] > request.available[e])[:1]:
            raise UserError(
                f"imbalance: {request.imbalance.setting} asks for {row[k]} training and {held[e, k]} validation images "
                f"of class '{request.classes[k]}' in domain '{request.domains[e]}', which has "
                f"{request.available[e, k]}; lower the setting's counts or imbalance.validation"
            )
        if not row.any():
            raise UserError(
                f"imbalance: {request.imbalance.setting} leaves domain '{request.domains[e]}' without training images; "
                f"raise the setting's counts or lower imbalance.validation"
            )
