"""Is the harness cheaper than the field's usual launcher, at no worse a result? Both on the digits, in turn.

    python benchmarks/launcher.py [--algorithms erm ndcl] [--targets scan sign] [--draws 20] [--at-once 1] [--seed 1]

The launcher, as in DomainBed's sweeps: each trial is its own process, 20 a study, their values drawn at random
(the first takes the defaults, as there); each trains all its steps. They run one after the other with all cores, as by
DomainBed's `local_launcher`, or so many at once as asked for, which share the cores. The harness: one `ndcl sweep` over
the same studies, as in search_spaces/digits.yaml but without its final runs: trials drawn by TPE, weak ones stopped by
ASHA, one on each core in processes that are used again. Space, steps and data are those of that file for both. What
counts is the highest validation accuracy on the source domains that any trial of a study reached, by which the
selection goes, and the time of all: for the harness that of the whole command, with Ray's start and the report.

The launcher does half of the studies before the sweep and half after it, so that a machine whose load drifts favours
neither. On a machine that others use too only the ratio means something. Takes about 35 minutes on 2 cores.
`--trial CONFIG RESULT` is what the launcher's processes are started with.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

Study = tuple[str, str]
"""Algorithm and target domain."""
LIMIT = 1 / 3
"""Share of the launcher's time that the harness may take."""


def sweep_file(folder: Path, algorithms: list[str], targets: list[str], seed: int) -> Path:
    """search_spaces/digits.yaml with these algorithms and targets, which are searched and no more."""
    values = yaml.safe_load((ROOT / "search_spaces" / "digits.yaml").read_text())
    values["data"]["targets"] = targets
    values["algorithms"] = {name: values["algorithms"][name] for name in algorithms}
    values["overrides"] = [override for override in values["overrides"] if override["target"] in targets]
    values["search"]["seed"] = seed
    values["final"] = {"seeds": 0}
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def swept(sweep: Path) -> tuple[dict[Study, float], float]:
    """Run all studies by the harness: the accuracy of each, and the seconds of all."""
    from harness.records import Journal
    from harness.records.selection import best_merit

    started = time.time()
    command = [sys.executable, "-m", "harness.cli", "sweep", str(sweep), "--results", str(sweep.parent), "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.time() - started
    best: dict[Study, float] = {}
    for record in Journal(sweep.parent / "digits").read():
        if record.state == "finished":
            study = (record.study.algorithm, record.study.target)
            best[study] = max(best.get(study, 0.0), best_merit(record))
    return best, seconds


def launched(folder: Path, configs: list[dict[str, Any]], at_once: int) -> tuple[float, float]:
    """Run one study by the launcher: its accuracy, and its seconds."""
    threads = str(max(1, (os.cpu_count() or 1) // at_once))
    started = time.time()

    def run(number: int) -> float:
        asked, answer = folder / f"{number}.json", folder / f"{number}.result.json"
        asked.write_text(json.dumps(configs[number]))
        command = [sys.executable, "-m", "benchmarks.launcher", "--trial", str(asked), str(answer)]
        subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"OMP_NUM_THREADS": threads})
        return float(max(json.loads(answer.read_text())))

    with ThreadPoolExecutor(at_once) as pool:
        return max(pool.map(run, range(len(configs)))), time.time() - started


def drawn(sweep: Path, num_draws: int) -> dict[Study, list[dict[str, Any]]]:
    """The launcher's configs by study: the defaults, then values at random, all with the seed of search trials."""
    import optuna

    from harness.config import load_sweep
    from harness.config.space import defaults, suggest
    from harness.plan import make_plan

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    configs = {}
    for study in make_plan(load_sweep(sweep), sweep.parent).studies:
        sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=study.seed))
        sampler.enqueue_trial(defaults(study.space))
        values = [suggest(sampler.ask(), study.space, study.fixed) for _ in range(num_draws)]
        configs[study.key.algorithm, study.key.target] = [study.train_config(chosen, 0).to_dict() for chosen in values]
    return configs


def train_one(config: Path, result: Path) -> None:
    """One trial of the launcher: train by a TrainConfig in JSON, and write down its validation accuracies."""
    from ndcl.config import TrainConfig
    from ndcl.training import train

    evaluations = train(TrainConfig.from_dict(json.loads(config.read_text())))
    result.write_text(json.dumps([evaluation.validation_accuracy for evaluation in evaluations]))


def compare(folder: Path, sweep: Path, num_draws: int, at_once: int) -> None:
    """Run all studies both ways, and print what came of it."""
    theirs: dict[Study, tuple[float, float]] = {}
    ours: dict[Study, float] = {}
    seconds, configs = 0.0, drawn(sweep, num_draws)
    for position, study in enumerate(configs):
        if position == len(configs) // 2:
            ours, seconds = swept(sweep)
            print(f"harness: {seconds:.0f} s for all", flush=True)
        theirs[study] = launched(folder, configs[study], at_once)
        print(f"launcher: {theirs[study][1]:.0f} s for {' on '.join(study)}", flush=True)
    for study, (accuracy, _) in theirs.items():
        print(f"{' on '.join(study)}: selected validation accuracy {100 * accuracy:.1f} % by the launcher, ", end="")
        print(f"{100 * ours[study]:.1f} % by the harness")
    ratio = seconds / sum(launcher_seconds for _, launcher_seconds in theirs.values())
    gain = sum(ours[study] - accuracy for study, (accuracy, _) in theirs.items()) / len(theirs)
    print(f"time: {ratio:.2f} of the launcher's, aim: at most {LIMIT:.2f}")
    print(f"accuracy: {100 * gain:+.1f} points on the mean, aim: not below 0")
    print("met" if ratio <= LIMIT and gain >= 0 else "MISSED")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithms", nargs="+", default=["erm", "ndcl"])
    parser.add_argument("--targets", nargs="+", default=["scan", "texture", "print", "sign"])
    parser.add_argument("--draws", type=int, default=20, help="the launcher's trials a study")
    parser.add_argument("--at-once", type=int, default=1, help="the launcher's processes at once")
    parser.add_argument("--seed", type=int, default=1, help="of both searches' draws")
    parser.add_argument("--trial", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trial:
        train_one(*arguments.trial)
        return
    with tempfile.TemporaryDirectory(prefix="ndcl-launcher-") as name:
        folder = Path(name)
        sweep = sweep_file(folder, arguments.algorithms, arguments.targets, arguments.seed)
        compare(folder, sweep, arguments.draws, arguments.at_once)


if __name__ == "__main__":
    main()
