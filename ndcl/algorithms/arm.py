"""Adaptive risk minimisation: ERM on a network that sees what the rows of a batch's domain have in common."""

from ndcl.algorithms.baselines import Erm


class Arm(Erm):
    """Adaptive risk minimisation with a context network (Zhang et al. 2021, section 4.1).

    All that is new is in the network (`ndcl.models.context`). In the paper a context at test time is that of a batch of
    unlabelled images of the unseen domain, so that an answer depends on what an image comes with; here it is the source
    domains' mean, and an image is classified alone.
    """
