"""Is the harness cheaper than the field's usual launcher, at no worse a result? Both on the digits, in turn.

    python benchmarks/launcher.py [--algorithms ndcl] [--targets scan sign] [--trials 20]

The launcher, as in DomainBed's sweeps: each trial is a process of its own, its values are drawn at random (the first
takes the defaults, as there), it trains all its steps, at most two run at once. The harness: `ndcl sweep` with as many
trials, drawn by TPE, weak ones stopped by ASHA from the first evaluation on. Space, steps, data and seed are those of
search_spaces/digits.yaml for both, one thread a trial. What counts is the highest validation accuracy on the source
domains that any trial reached, by which the selection goes, and the time of all: for the harness that of the whole
command, the start of Ray and the report included.

Studies are run one by one, and who is first alternates. On a machine that others use too only the ratios mean
something. Takes about 6 minutes on 2 cores. `--trial CONFIG RESULT` is what the launcher's processes are started with.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

AT_ONCE = 2
LIMIT = 1 / 3
"""Share of the launcher's time that the harness may take."""


class Outcome(NamedTuple):
    """What came of one study, and when each of its trials had ended."""

    accuracy: float
    seconds: float
    ends: list[tuple[float, float]]
    """Seconds since the start, and the trial's accuracy."""


def study_file(folder: Path, algorithm: str, target: str, num_trials: int) -> Path:
    """search_spaces/digits.yaml with one study, which is searched and no more."""
    values = yaml.safe_load((ROOT / "search_spaces" / "digits.yaml").read_text())
    values["data"]["targets"] = [target]
    values["algorithms"] = {algorithm: values["algorithms"][algorithm]}
    values["overrides"] = [override for override in values["overrides"] if override["target"] == target]
    values["search"] = {"num_trials": num_trials, "scheduler": {"name": "asha", "min_resource": 1}}
    values["final"] = {"seeds": 0}
    values["resources"] = {"max_concurrent": AT_ONCE}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def swept(study: Path) -> Outcome:
    """Run a study by the harness."""
    from harness.records import Journal
    from harness.selection import best_merit

    started = time.time()
    command = [sys.executable, "-m", "harness.cli", "sweep", str(study), "--results", str(study.parent), "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.time() - started
    finished = [record for record in Journal(study.parent / "digits").read() if record.state == "finished"]
    ends = [((record.ended or 0.0) - started, best_merit(record)) for record in finished]
    return Outcome(max(accuracy for _, accuracy in ends), seconds, ends)


def launched(study: Path) -> Outcome:
    """Run the same study by the launcher."""
    configs = drawn(study)
    started = time.time()

    def run(number: int) -> tuple[float, float]:
        asked, answer = study.parent / f"{number}.json", study.parent / f"{number}.result.json"
        asked.write_text(json.dumps(configs[number]))
        command = [sys.executable, "-m", "benchmarks.launcher", "--trial", str(asked), str(answer)]
        subprocess.run(command, cwd=ROOT, check=True)
        return time.time() - started, max(json.loads(answer.read_text()))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(run, range(len(configs))))
    return Outcome(max(accuracy for _, accuracy in ends), time.time() - started, ends)


def drawn(study: Path) -> list[dict[str, Any]]:
    """The launcher's configs: the defaults, then values at random, all with the seed that search trials have."""
    import optuna

    from harness.config import load_sweep
    from harness.plan import make_plan
    from harness.space import defaults, suggest

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (plan,) = make_plan(load_sweep(study), study.parent).studies
    sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    sampler.enqueue_trial(defaults(plan.space))
    values = [suggest(sampler.ask(), plan.space, plan.fixed) for _ in range(plan.num_trials)]
    return [plan.train_config(chosen, 0).to_dict() for chosen in values]


def train_one(config: Path, result: Path) -> None:
    """One trial of the launcher: train by a TrainConfig in JSON, and write down its validation accuracies."""
    import torch

    from ndcl.config import TrainConfig
    from ndcl.training import train

    torch.set_num_threads(1)
    evaluations = train(TrainConfig.from_dict(json.loads(config.read_text())))
    result.write_text(json.dumps([evaluation.validation_accuracy for evaluation in evaluations]))


def compare(algorithm: str, target: str, num_trials: int, harness_first: bool) -> tuple[Outcome, Outcome]:
    """Run one study both ways, print what came of it, and return the launcher's and the harness's outcome."""
    outcomes = {}
    for run in (swept, launched) if harness_first else (launched, swept):
        with tempfile.TemporaryDirectory(prefix="ndcl-launcher-") as name:
            outcomes[run] = run(study_file(Path(name), algorithm, target, num_trials))
    theirs, ours = outcomes[launched], outcomes[swept]
    reached = min((seconds for seconds, accuracy in ours.ends if accuracy >= theirs.accuracy), default=None)
    print(
        f"| {algorithm} {target} | {100 * theirs.accuracy:.1f} | {100 * ours.accuracy:.1f} | {theirs.seconds:.0f} | "
        f"{ours.seconds:.0f} | {ours.seconds / theirs.seconds:.2f} | {'-' if reached is None else f'{reached:.0f}'} |",
        flush=True,
    )
    return theirs, ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithms", nargs="+", default=["ndcl"])
    parser.add_argument("--targets", nargs="+", default=["scan", "sign"])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--trial", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trial:
        train_one(*arguments.trial)
        return
    print(f"{arguments.trials} trials a study; selected validation accuracy in %, wall time in s\n")
    print("| study | launcher % | harness % | launcher s | harness s | ratio | launcher's % reached after s |")
    print("|---|---|---|---|---|---|---|")
    studies = [(algorithm, target) for target in arguments.targets for algorithm in arguments.algorithms]
    both = [compare(*study, arguments.trials, harness_first=i % 2 == 1) for i, study in enumerate(studies)]
    theirs, ours = zip(*both, strict=True)
    ratio = sum(outcome.seconds for outcome in ours) / sum(outcome.seconds for outcome in theirs)
    gain = sum(outcome.accuracy for outcome in ours) - sum(outcome.accuracy for outcome in theirs)
    met = ratio <= LIMIT and gain >= 0
    print(f"\nratio of all times {ratio:.2f}, aim: at most {LIMIT:.2f}")
    print(f"accuracy {100 * gain / len(both):+.1f} points on the mean, aim: not below 0; {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
