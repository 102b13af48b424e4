"""What Optuna keeps to itself and a search resumed from a journal needs: all of it stands here, and is tested."""

import optuna


def opened(study: optuna.Study, found: optuna.trial.FrozenTrial) -> optuna.Trial:
    """The open trial that the study's storage has, to report to; ask-and-tell hands out new ones only."""
    return optuna.Trial(study, found._trial_id)


def has_report(trial: optuna.Trial, step: int) -> bool:
    """Whether a value was reported at the step."""
    return step in trial.storage.get_trial(trial._trial_id).intermediate_values
