"""How far images of a new site are from a model's source domains, with these among themselves as the measure.

Nothing here is trained on, and no number tells the accuracy. Legend: D source domains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ndcl.serving.looks import Look, distance

FEW_IMAGES = 30
"""With fewer a distance says little."""
EXCESS, EXCESS_SHARE = 2, 0.25
"""How many times as often as on any source, and for what share of the images at least, a class is named to be told."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Distances are in units of a source's own spread: the root of its features' summed variances, on average."""

    site: Look
    sources: Mapping[str, Look]
    distances: Mapping[str, float]
    """Of the site from each source."""
    among: Mapping[str, Mapping[str, float]]
    """Of each source from the others."""

    @property
    def nearest(self) -> str:
        """The source that the site is nearest to."""
        return min(self.distances, key=lambda name: self.distances[name])

    @property
    def usual(self) -> float | None:
        """The largest distance of a source from its nearest other one; None of a single source."""
        nearest = [min(others.values()) for others in self.among.values() if others]
        return max(nearest, default=None)

    @property
    def excessive_classes(self) -> list[int]:
        """Classes predicted for EXCESS times as many of the site's images as of any source's, and for EXCESS_SHARE."""
        most = np.max([look.shares for look in self.sources.values()], axis=0)
        shares = self.site.shares
        return [int(k) for k in np.flatnonzero((shares > EXCESS * most) & (shares > EXCESS_SHARE))]

    def to_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """JSON types, with the names of the K classes."""
        return {
            "site": _look(self.site, classes, self.distances),
            "sources": {name: _look(look, classes, self.among[name]) for name, look in self.sources.items()},
            "nearest": self.nearest,
            "largest_distance_between_neighbours": None if self.usual is None else round(self.usual, 6),
        }


def shift_of(site: Look, sources: Mapping[str, Look]) -> Shift:
    """The shift from the sources, at least one, to a site."""
    spreads = [float(look.variance.sum()) for look in sources.values()]
    unit = (sum(spreads) / len(spreads)) ** 0.5 or 1.0
    return Shift(
        site=site,
        sources=dict(sources),
        distances={name: distance(site, look) / unit for name, look in sources.items()},
        among={
            name: {other: distance(look, theirs) / unit for other, theirs in sources.items() if other != name}
            for name, look in sources.items()
        },
    )


def _look(look: Look, classes: Sequence[str], distances: Mapping[str, float]) -> dict[str, Any]:
    return {
        "images": look.num_images,
        "confidence": round(look.confidence, 6),
        "disagreement": None if look.disagreement is None else round(look.disagreement, 6),
        "shares": {name: round(float(share), 6) for name, share in zip(classes, look.shares, strict=True)},
        "distances": {name: round(value, 6) for name, value in distances.items()},
    }
