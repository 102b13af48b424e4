"""Numbers of steps or evaluations in a training's config that the training never gets to, and what follows."""

from collections.abc import Iterator

from ndcl.config import TrainConfig


def unreached(config: TrainConfig) -> dict[str, str]:
    """Dotted keys that last for the whole training, or longer, each with their value and what follows from it."""
    return {
        key: f"{number} of {of_all}: {what}; lower it, or train for more steps"
        for key, number, of_all, what in (*_of_steps(config), *_of_evaluations(config))
    }


def _of_steps(config: TrainConfig) -> Iterator[tuple[str, int, str, str]]:
    algorithm = config.algorithm
    steps = {
        "optimizer.warmup_steps": (config.optimizer.warmup_steps, "the learning rate never arrives at its value"),
        "model.head_warmup_steps": (config.model.head_warmup_steps, "the backbone never learns"),
    }
    for key in algorithm.shares_and_steps.values():
        steps[f"algorithm.{key}"] = (
            getattr(algorithm, key) or 0,
            f"what {algorithm.name} does from then on never begins",
        )
    if config.profile is not None:
        steps["profile.from_step"] = (config.profile.from_step, "nothing is profiled")
    for key, (number, what) in steps.items():
        if number >= config.num_steps:
            yield key, number, f"{config.num_steps} steps", what


def _of_evaluations(config: TrainConfig) -> Iterator[tuple[str, int, str, str]]:
    patience, evaluations = config.averaging.start_patience, -(-config.num_steps // config.evaluate_every)
    if config.averaging.name == "swad" and patience > evaluations:
        what = "where the valley begins is never decided"
        yield "averaging.start_patience", patience, f"{evaluations} evaluations", what
