"""What machines cost: a dated list in the repository, since nobody maintains one that can be had offline. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from harness.config.yaml_files import read_yaml
from ndcl.errors import UserError, unknown_name
from ndcl.strict import from_dict

PRICES = Path(__file__).parents[2] / "clusters" / "prices.yaml"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A type of machine that can be rented."""

    hour: float
    """On demand, in US dollars."""
    cpus: int
    gpus: int
    spot_hour: float | None = None
    """What spot costs now, where it was asked."""


@dataclass(frozen=True, kw_only=True)
class PriceList:
    """Prices as they were on one day, in US dollars."""

    as_of: date
    stale_after_days: int
    spot: tuple[float, float]
    """Least and most that spot cost, as a share of on demand."""
    disk_gib_month: float
    machines: dict[str, Machine]

    def machine(self, name: str) -> Machine:
        """Raises UserError for a type that is not in the list."""
        if name not in self.machines:
            raise UserError(
                f"prices: {unknown_name('machine type', name, self.machines)}; add it to clusters/prices.yaml, or give "
                f"--price {name}=USD"
            )
        return self.machines[name]

    def with_prices(self, given: Mapping[str, float]) -> "PriceList":
        """With the user's own; a type that is not in the list has no known size."""
        unsized = Machine(hour=0, cpus=0, gpus=0)
        own = {name: replace(self.machines.get(name, unsized), hour=hour) for name, hour in given.items()}
        return replace(self, machines=self.machines | own)

    def warning(self, today: date) -> str | None:
        """Where it is old."""
        days = (today - self.as_of).days
        if days <= self.stale_after_days:
            return None
        return f"the prices are {days} days old; look them up again, or give --price TYPE=USD"


def read_prices(path: Path = PRICES) -> PriceList:
    """Raises UserError if the file is not there or not right."""
    try:
        return from_dict(PriceList, read_yaml(path, "a list of prices, such as clusters/prices.yaml"))
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def parse_prices(texts: Sequence[str]) -> dict[str, float]:
    """`g5.xlarge=1.01` as type and price. Raises UserError."""
    prices = {}
    for text in texts:
        name, _, hour = text.partition("=")
        try:
            prices[name] = float(hour)
        except ValueError:
            prices[name] = -1
        if not 0 <= prices[name] < float("inf"):
            raise UserError(f"--price {text}: expected TYPE=USD an hour, such as g5.xlarge=1.01")
    return prices
