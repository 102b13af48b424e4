"""`ndcl algorithms`: what there is to compare, and how each is searched."""

from typing import Annotated, Any

import typer

from harness.terminal.lines import say
from ndcl.algorithm_configs import ALGORITHM_CONFIGS, AlgorithmConfig, config_class, is_own


def algorithms(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Print a search-space block of each, to be pasted.")
    ] = None,
) -> None:
    """List the algorithms: name, paper, what each needs, and the values that a search may choose."""
    if names:
        configs = [config_class(name) for name in dict.fromkeys(names)]
        say("algorithms:")
        for line in (line for config in configs for line in _block(config)):
            say(line)
        return
    for config in ALGORITHM_CONFIGS.values():
        for line in _entry(config):
            say(line)
    say("")
    say("Search some of them:  algorithms: [erm, ndcl, coral]   in a sweep's file (docs/search_space.md)")
    say("Their ranges, to be changed:  ndcl algorithms ndcl coral   (docs/algorithms.md says what each does)")


def _entry(config: type[AlgorithmConfig]) -> list[str]:
    lines = [f"{config.own_name():<18} {config.title}: {config.paper}"]
    if config.needs:
        lines.append(f"{'':18} needs {', '.join(config.needs)}")
    if config.passes != 1:
        lines.append(f"{'':18} a step costs about {config.passes:.2g} of one of erm")
    searched = [f"{key} {_range(parameter)}" for key, parameter in config.search_space().items()]
    return [*lines, f"{'':18} searches {'; '.join(searched)}"] if searched else lines


def _range(parameter: dict[str, Any]) -> str:
    if "choices" in parameter:
        return f"{' | '.join(map(_text, parameter['choices']))} [{_text(parameter['default'])}]"
    return f"{parameter['low']:g} to {parameter['high']:g} [{parameter['default']:g}]"


def _block(config: type[AlgorithmConfig]) -> list[str]:
    space, name = config.search_space(), config.own_name()
    head = [f"  {name.rpartition(':')[2]}:", f"    algorithm: {name}"] if is_own(name) else [f"  {name}:"]
    if not space:
        return head
    lines = [
        f"      algorithm.{key}: {{{', '.join(f'{part}: {_text(value)}' for part, value in parameter.items())}}}"
        for key, parameter in space.items()
    ]
    return [*head, "    space:", *lines]


def _text(value: Any) -> str:
    """As YAML has it; a number with a dot, which YAML 1.1 wants before an exponent."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = f"{value:.6g}"
        return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text
    return f"[{', '.join(map(_text, value))}]" if isinstance(value, list) else str(value)
