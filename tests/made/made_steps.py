"""Steps of one algorithm on one network, taken as a training takes them, without a data set."""

from types import SimpleNamespace
from typing import cast

from ndcl.algorithms import Algorithm, Loss
from ndcl.batch import Batch
from ndcl.config import TrainConfig
from ndcl.models import Network
from ndcl.parallel import Group
from ndcl.training.optimization import build_optimizer, build_own_optimizer
from ndcl.training.step import Step
from ndcl.training.training import Training


class Steps:
    """Holds what `Training._take_step` reads."""

    def __init__(self, network: Network, algorithm: Algorithm, config: TrainConfig, num_classes: int) -> None:
        optimizer = build_optimizer(network, config.optimizer, algorithm)
        self.training = SimpleNamespace(
            algorithm=algorithm,
            network=network,
            config=config,
            step=0,
            optimizer=optimizer,
            own_optimizer=build_own_optimizer(algorithm),
            _rates=[group["lr"] for group in optimizer.param_groups],
            _step=Step(network, algorithm, config, num_classes, Group()),
            average=None,
            _show_all=self.show_all,
            _take_part=lambda batch, part: Training._take_part(cast(Training, self.training), batch, part),
            _advance=lambda decays=True: Training._advance(cast(Training, self.training), decays),
            _advance_own=lambda optimizer: Training._advance_own(cast(Training, self.training), optimizer),
        )

    def show_all(self) -> None:
        """Without a data set there is nothing to show."""

    def take(self, batch: Batch) -> Loss:
        """One step."""
        return Training._take_step(cast(Training, self.training), batch)
