"""How a sweep searches: sampler, scheduler, objectives, warm start."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from harness.config.names import Name
from harness.config.strict import StrictModel, listed
from ndcl.criteria import CROSS_VALIDATED, DEFAULT_OBJECTIVE, ORACLE, CrossValidated, Objective
from ndcl.errors import UserError

SINGLE_OBJECTIVE = ("cmaes",)
"""Samplers that can't search for a Pareto front."""


WITHOUT_SCHEDULER = "--set 'search.scheduler={name: none}'"
"""Takes the scheduler's other keys away, too, of which `none` uses none."""


class SchedulerConfig(StrictModel):
    """How trials are stopped early, or learn from each other."""

    name: Literal["asha", "hyperband", "median", "pbt", "none"] = "asha"
    """`asha`: asynchronous successive halving (Li et al. 2020); `hyperband`: the same in brackets, of which the later
    ones grant more before the first comparison (Li et al. 2018); `median`: stop below the median of earlier trials;
    `pbt`: population based training (Jaderberg et al. 2017); `none`."""
    min_resource: int = Field(default=1, ge=1)
    """asha, hyperband, median: evaluations that every trial is granted."""
    reduction_factor: int = Field(default=3, ge=2)
    """asha, hyperband: one in so many trials continues at each rung."""
    mode: Literal["stop", "promote"] = "stop"
    """asha, hyperband: `stop`: a trial that is not among the best at a rung ends there; `promote`: each waits at its
    rung with its checkpoint, and the best continue when there is room (Algorithm 2 of Li et al. 2020)."""
    perturbation_interval: int = Field(default=1, ge=1)
    """pbt: evaluations between two comparisons of the population."""
    quantile_fraction: float = Field(default=0.25, gt=0, le=0.5)
    """pbt: so large a share of the population, the worst, resumes from the best of as large a share."""
    resample_probability: float = Field(default=0.25, ge=0, le=1)
    """pbt: probability that a value taken over is drawn anew, rather than moved by a fifth or to its neighbour."""


class WarmStart(StrictModel):
    """Values to try first, taken from the best trials of another sweep's studies."""

    sweep: Name
    """Name of a sweep in the same results folder."""
    num_trials: int = Field(default=3, ge=1)
    """How many sets of values, the best of each matching study in turn."""
    algorithm: Name | None = None
    """Name of the algorithm there; null: as here."""
    from_other_targets: bool = False
    """Also from studies of other target domains of the same data set. These were selected with images of this study's
    target domain, which was one of their source domains; tables say so."""
    optional: bool = False
    """Whether a study for which there are no values begins without, instead of being refused."""


class SecondLook(StrictModel):
    """A stage between search and final runs: the best trials are judged once more, by what would cost too much for all.

    Each is trained anew once per source domain, without that domain, and judged at the checkpoint that the objective
    chooses there; the final runs repeat the best one.
    """

    by: CrossValidated
    among: int = Field(default=5, ge=2)
    """So many of each study's best trials by the search's objective."""


class SearchSpec(StrictModel):
    """The budget of each study's search, what it maximises, and how the budget is spent."""

    num_trials: int | None = Field(default=None, ge=1)
    """Required, but for the sampler `grid`, where null means all of the grid."""
    objective: Annotated[tuple[Objective, ...], BeforeValidator(listed), Field(min_length=1)] = (DEFAULT_OBJECTIVE,)
    """Measured on source domains, except for the oracle. Several make a Pareto front."""
    select: SecondLook | None = None
    """null: the search's objective has the last word."""
    sampler: Literal["tpe", "gp", "cmaes", "qmc", "random", "grid", "nsga2"] = "tpe"
    scheduler: SchedulerConfig = SchedulerConfig()
    warm_start: WarmStart | None = None
    evaluate_target: Literal["always", "selected", "final"] = "selected"
    """When a training's target is looked at, for reports alone: at each checkpoint; once, at the selected checkpoint of
    a training that ran to its end; or so in final runs only."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sampler."""

    @model_validator(mode="before")
    @classmethod
    def _without_pruning(cls, values: Any) -> Any:
        """A Pareto front knows no early stopping, and asks for none where nothing is said."""
        several = isinstance(values, dict) and len(listed(values.get("objective") or ())) > 1
        return {"scheduler": {"name": "none"}, **values} if several else values

    @model_validator(mode="after")
    def _fitting(self) -> "SearchSpec":
        if self.num_trials is None and self.sampler != "grid":
            raise UserError("num_trials: a value is required; add it")
        left_out = [name for name in self.objective if name in CROSS_VALIDATED]
        if self.select is not None and left_out:
            raise UserError(
                f"select: by objective {left_out[0]} the search leaves out each source domain already; remove select, "
                "or search by another objective"
            )
        if self.select is not None and ORACLE in self.objective:
            raise UserError(
                f"select: the search's objective {ORACLE} looks at the target, which a second look never does; remove "
                "select, or search by another objective"
            )
        several = len(self.objective) > 1
        if len(set(self.objective)) < len(self.objective):
            raise UserError(f"objective: {', '.join(self.objective)} names one twice; leave one out")
        if several and self.scheduler.name != "none":
            raise UserError(
                f"scheduler.name: {self.scheduler.name} compares trials by one number, but there are "
                f"{len(self.objective)} objectives; give {WITHOUT_SCHEDULER}, or name one objective"
            )
        if several and self.sampler in SINGLE_OBJECTIVE:
            raise UserError(f"sampler: {self.sampler} knows one objective only; use tpe, gp or nsga2")
        return self
