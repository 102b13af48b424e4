"""What a user writes: a sweep's YAML, read once, checked strictly."""

from harness.config.demand import Demand, Workers
from harness.config.parameters import Parameter
from harness.config.space import Space
from harness.config.sweep import SweepConfig, load_sweep

__all__ = ["Demand", "Parameter", "Space", "SweepConfig", "Workers", "load_sweep"]
