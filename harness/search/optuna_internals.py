"""What Optuna keeps to itself and a search resumed from a journal needs: all of it stands here, and is tested."""

import optuna

_JUDGED = "judged at its last step"


def opened(study: optuna.Study, found: optuna.trial.FrozenTrial) -> optuna.Trial:
    """The open trial that the study's storage has, to report to; ask-and-tell hands out new ones only."""
    return optuna.Trial(study, found._trial_id)


def has_report(trial: optuna.Trial, step: int) -> bool:
    """Whether a value was reported at the step."""
    return step in trial.storage.get_trial(trial._trial_id).intermediate_values


def judged(trial: optuna.Trial) -> tuple[int, bool] | None:
    """The last step at which a pruner has judged the trial, and whether it is to be stopped; None: at none yet."""
    found = trial.storage.get_trial(trial._trial_id).system_attrs.get(_JUDGED)
    return None if found is None else (int(found[0]), bool(found[1]))


def note_judged(trial: optuna.Trial, step: int, is_to_stop: bool) -> None:
    """Keep what `judged` tells."""
    trial.storage.set_trial_system_attr(trial._trial_id, _JUDGED, [step, is_to_stop])
