"""What a trial occupies: processors, GPUs, workers."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from harness.config.demand import COLLECTIVE_TIMEOUT_SECONDS, Demand, Placement, Workers
from harness.config.strict import StrictModel
from ndcl.errors import UserError


def _min_and_max(values: Any) -> Any:
    return {"min": values, "max": values} if isinstance(values, int) else values


class WorkerRange(StrictModel):
    """As many workers as there is room for, while the trial runs; one number stands for both."""

    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "WorkerRange":
        if self.min > self.max:
            raise UserError(f"min: {self.min} is greater than max, {self.max}; exchange them")
        return self


class TrialResources(StrictModel):
    """What one trial occupies, and how many run at once."""

    workers_per_trial: Annotated[WorkerRange, BeforeValidator(_min_and_max)] = WorkerRange(min=1, max=1)
    """Processes that train one trial together; with one it is the trial's own."""
    cpus_per_trial: float = Field(default=1.0, gt=0)
    """With one worker."""
    gpus_per_trial: float = Field(default=0.0, ge=0)
    """With one worker."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    """With several workers."""
    gpus_per_worker: int = Field(default=0, ge=0, le=1)
    """With several workers."""
    placement: Placement = "PACK"
    """With several workers: on few nodes, over many (SPREAD), on one (STRICT_PACK), each on its own (STRICT_SPREAD)."""
    timeout_seconds: int = Field(default=COLLECTIVE_TIMEOUT_SECONDS, ge=1)
    """With several workers: how long one waits for the others in an exchange, by NCCL or gloo, before all restart."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """At most so many trials at once; null: as many as the resources allow."""

    @model_validator(mode="after")
    def _of_the_workers(self) -> "TrialResources":
        """Refuse what would not be used."""
        several = self.workers_per_trial.max > 1
        unused = (
            ("cpus_per_trial", "gpus_per_trial")
            if several
            else ("cpus_per_worker", "gpus_per_worker", "placement", "timeout_seconds")
        )
        for key in unused:
            if getattr(self, key) != type(self).model_fields[key].default:
                remedy = key.replace("trial", "worker") if several else key.replace("worker", "trial")
                use = f"use {remedy}" if remedy != key else "leave it out"
                raise UserError(f"{key}: with {'several workers' if several else 'one worker'} a trial has none; {use}")
        return self

    def occupied(self, key: str) -> Demand:
        """The same for whoever plans and runs trials; `key` is where the file says it."""
        workers = self._workers
        return Demand(
            cpus=workers.most * workers.cpus if workers else self.cpus_per_trial,
            gpus=float(workers.most * workers.gpus) if workers else self.gpus_per_trial,
            workers=workers,
            max_concurrent=self.max_concurrent,
            key=key,
        )

    @property
    def _workers(self) -> Workers | None:
        """Those of a trial that has several."""
        number = self.workers_per_trial
        if number.max == 1:
            return None
        return Workers(
            least=number.min,
            most=number.max,
            cpus=self.cpus_per_worker,
            gpus=self.gpus_per_worker,
            placement=self.placement,
            timeout_seconds=self.timeout_seconds,
        )


class ResourceSpec(TrialResources):
    """What one trial occupies, and what of it stays."""

    keep_checkpoints: Literal["all", "selected"] = "all"
    """`selected`: of a study's search trials only the best `final.top_k` keep theirs; final runs always do."""
