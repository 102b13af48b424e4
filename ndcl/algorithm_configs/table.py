"""The table: the config of every algorithm, by name."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ndcl.algorithm_configs import alignment, gradients, invariance, long_tail
from ndcl.algorithm_configs.base import AlgorithmConfig
from ndcl.algorithm_configs.ndcl import NdclConfig
from ndcl.errors import UserError, unknown_name
from ndcl.strict import from_dict

TABLE: tuple[type[AlgorithmConfig], ...] = (
    long_tail.ErmConfig,
    NdclConfig,
    long_tail.ReweightConfig,
    long_tail.BalancedSoftmaxConfig,
    long_tail.LdamConfig,
    long_tail.FocalConfig,
    long_tail.LogitAdjustmentConfig,
    long_tail.TauNormConfig,
    long_tail.CrtConfig,
    alignment.CoralConfig,
    alignment.MmdConfig,
    alignment.CausIrlCoralConfig,
    alignment.CausIrlMmdConfig,
    alignment.DannConfig,
    alignment.CdannConfig,
    alignment.CadConfig,
    alignment.CondCadConfig,
    alignment.SagNetConfig,
    alignment.SelfRegConfig,
    alignment.TcriHsicConfig,
    alignment.GiniDgConfig,
    invariance.IrmConfig,
    invariance.VrexConfig,
    invariance.GroupDroConfig,
    invariance.EqrmConfig,
    invariance.RdmConfig,
    invariance.IbErmConfig,
    invariance.IbIrmConfig,
    invariance.FishrConfig,
    invariance.SdConfig,
    invariance.RscConfig,
    invariance.MixupConfig,
    invariance.BodaConfig,
    invariance.TrmConfig,
    invariance.TransferConfig,
    invariance.MtlConfig,
    invariance.ArmConfig,
    gradients.AndMaskConfig,
    gradients.SandMaskConfig,
    gradients.MldgConfig,
    gradients.FishConfig,
    gradients.IgaConfig,
    gradients.PGradConfig,
)

ALGORITHM_CONFIGS: dict[str, type[AlgorithmConfig]] = {config.own_name(): config for config in TABLE}
"""By the name that users write."""


def algorithm_config(values: Any, where: str = "algorithm") -> AlgorithmConfig:
    """The config of the algorithm that `values["name"]` names. Raises UserError if there is none of that name."""
    if not isinstance(values, dict) or "name" not in values:
        raise UserError(f"{where}.name: a value is required; valid: {', '.join(sorted(ALGORITHM_CONFIGS))}")
    try:
        cls: Callable[..., AlgorithmConfig] = config_class(str(values["name"]))
    except UserError as error:
        raise UserError(f"{where}.name: {error}") from None
    return from_dict(cls, values, where)  # type: ignore[arg-type]


def config_class(name: str) -> type[AlgorithmConfig]:
    """The config of an algorithm by its name in the table, or `module:Class` of the user's own.

    Raises UserError if there is none.
    """
    if is_own(name):
        return _own_config(name)
    if name not in ALGORITHM_CONFIGS:
        raise UserError(unknown_name("algorithm", name, ALGORITHM_CONFIGS))
    return ALGORITHM_CONFIGS[name]


def is_own(name: str) -> bool:
    """Whether it names an algorithm of the user's own."""
    module, _, class_name = name.partition(":")
    return class_name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def own_module(name: str) -> ModuleType:
    """The module of the user's own algorithm `module:Class`, looked for in the working directory too.

    Raises UserError if it can't be imported.
    """
    module = name.partition(":")[0]
    here = str(Path.cwd())
    if here not in sys.path:  # a console script's own folder stands first there, not the one it is called in
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0] and error.name != module:
            raise UserError(f"'{name}': {module} imports {error.name}, which is not installed; install it") from None
        raise UserError(
            f"'{name}': there is no module {module} in '{here}' or on Python's path; run the command in its folder, or "
            "add that to PYTHONPATH"
        ) from None
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a script without a main guard ends the process
        raise UserError(f"'{name}': {module} can't be imported ({type(error).__name__}: {error}); mend it") from None


def _own_config(name: str) -> type[AlgorithmConfig]:
    module, class_name = own_module(name), name.partition(":")[2]
    for needed in (class_name, f"{class_name}Config"):
        if not hasattr(module, needed):
            raise UserError(f"'{name}': {module.__name__} has no {needed}; docs/extending.md says what it needs")
    config = getattr(module, f"{class_name}Config")
    if not (isinstance(config, type) and issubclass(config, AlgorithmConfig)):
        raise UserError(f"'{name}': {class_name}Config is no AlgorithmConfig; docs/extending.md says what it needs")
    if "__dataclass_params__" not in vars(config):
        raise UserError(
            f"'{name}': {class_name}Config is no dataclass; put @dataclass(frozen=True, kw_only=True) above it"
        )
    if config.own_name() != name:
        raise UserError(
            f"'{name}': the default of {class_name}Config.name is '{config.own_name()}'; set it to '{name}'"
        )
    for key, values in config.search_space().items():
        problem = _problem_of_range(values)
        if problem is not None:
            raise UserError(f"'{name}': the range of {class_name}Config.{key} {problem}; correct it")
    return config


def _problem_of_range(values: dict[str, Any]) -> str | None:
    if "choices" in values:
        known = values["default"] in values["choices"]
        return None if known else f"has no choice {values['default']!r}, which is its default"
    low, high, default = values["low"], values["high"], values["default"]
    if values["type"] == "int" and not (isinstance(low, int) and isinstance(high, int)):
        return f"is of whole numbers, as its default {default}, and has the ends {low} and {high}"
    if low >= high:
        return f"has no value from {low} to {high}"
    if values.get("log") and low <= 0:
        return f"is on a logarithmic scale, and {low} has no logarithm"
    return None if low <= default <= high else f"from {low} to {high} lacks its default {default}"
