"""The first journey: from a clone to a model that answers, on the embedded digits. Each test continues the last."""

import json
import re
import shutil
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from tests.journeys.clone import Clone
from tests.journeys.guides import Block, block

SMALL = ("data.targets=[sign]", "train.num_steps=40", "train.evaluate_every=4", "search.scheduler.min_resource=4")
"""Sizes alone; numbers of trials and seeds are edited in the YAML, as a user does."""
SEARCH = block("docs/start.md", "ndcl plan search_spaces/digits.yaml")
LOOK = block("docs/start.md", "ndcl status digits")
MODELS = block("docs/models.md", "ndcl export digits --to models")
SERVE = block("docs/models.md", "ndcl export digits --mlflow")
STUDY = "ndcl.digits.long_tail-65.sign"


def edit(clone: Clone, key: str, value: int) -> None:
    """Change a number in the sweep's YAML file."""
    path = clone.folder / "search_spaces" / "digits.yaml"
    text, changes = re.subn(rf"^(\s+{key}:) \d+$", rf"\1 {value}", path.read_text(), flags=re.MULTILINE)
    assert changes == 1
    path.write_text(text)


def records(results: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in results.glob("digits/trials/*.json")}


@pytest.fixture(scope="module", autouse=True)
def _fewer_trials(clone: Clone) -> None:
    edit(clone, "num_trials", 2)
    edit(clone, "seeds", 2)


@pytest.fixture(scope="module")
def photos(clone: Clone) -> Path:
    """A folder of photos of any size, one with the phone's rotation, one name with brackets and blanks."""
    folder = clone.folder / "photos"
    (folder / "trip to Grüße").mkdir(parents=True)
    for position, name in enumerate(("3.png", "large.jpg", "trip to Grüße/[1] a b.png")):
        image = Image.effect_noise((1200, 900) if name == "large.jpg" else (40, 30 + position), 60.0).convert("RGB")
        image.save(folder / name)
    return folder


def test_install_finds_all_in_place(clone: Clone) -> None:
    install = block("docs/start.md", "make install")
    assert "python" in clone.type("\n".join([*install.lines, "which python ndcl"]))


def test_make_sweep_is_the_sweep_of_the_guide(clone: Clone) -> None:
    (line,) = block("README.md", "make sweep").lines
    assert SEARCH.line("ndcl sweep") in clone.type(f"{line} --dry-run")


def test_the_readme_says_what_the_guide_says() -> None:
    """Its other commands are those of docs/start.md, which the tests below type."""
    install = block("docs/start.md", "make install").line("source")
    use, look = block("docs/start.md", "ndcl export digits --to models"), block("docs/start.md", "ndcl ui")
    expected = (install, use.line("ndcl export"), look.line("ndcl ui"))
    assert block("README.md", "source .venv/bin/activate").lines == expected


def test_plan(clone: Clone) -> None:
    printed = clone.type(SEARCH.line("ndcl plan"), *SMALL)
    assert "2 studies, 8 trainings of which 0 are done" in " ".join(printed.split())


def test_a_sweep_that_is_interrupted_goes_on(clone: Clone) -> None:
    results = clone.folder / "results"
    sweep = SEARCH.line("ndcl sweep")

    def is_in_the_middle() -> bool:
        return any(r["state"] == "running" and len(r["evaluations"]) >= 3 for r in records(results).values())

    with clone.start(sweep, *SMALL) as running:
        running.wait_until(is_in_the_middle)
        assert running.interrupt() == 130
        assert "the same command" in running.text
    stopped = {name: record for name, record in records(results).items() if record["state"] == "interrupted"}
    assert stopped
    printed = clone.type(sweep, *SMALL)
    after = records(results)
    assert {record["state"] for record in after.values()} <= {"finished", "pruned"}
    assert len(after) == 10  # with an ensemble of each study
    for name, before in stopped.items():
        held = before["evaluations"][:-1]  # at most one checkpoint interval is trained again
        assert [e["seconds"] for e in after[name]["evaluations"][: len(held)]] == [e["seconds"] for e in held]
    assert "results: results/digits" in printed
    (clone.folder / "printed.txt").write_text(printed)


def test_what_a_sweep_names_next_works(clone: Clone) -> None:
    """The command is in its last line; it serves a page that lists the sweep."""
    printed = (clone.folder / "printed.txt").read_text()
    (command,) = re.findall(r"^next: (.*)$", printed, re.MULTILINE)
    assert command == block("docs/start.md", "ndcl ui").lines[0]
    with clone.start(command) as ui:
        ui.wait_until(lambda: answers(f"{address(ui.text)}/health"))
        found = post(f"{address(ui.text)}/api/2.0/mlflow/experiments/search", {"max_results": 10})
    assert "digits" in {experiment["name"] for experiment in found["experiments"]}


def test_status_and_report(clone: Clone) -> None:
    assert "done" in clone.type(LOOK.line("ndcl status"))
    (place,) = re.findall(r"^results: (.*)$", (clone.folder / "printed.txt").read_text(), re.MULTILINE)
    assert "done" in clone.type(f"ndcl status {place}/")
    printed = clone.type(LOOK.line("ndcl report"))
    assert "ndcl - erm" in printed
    assert "ndcl ensemble" in printed
    assert (clone.folder / "results" / "digits" / "report.html").is_file()


def test_tables_and_figures_of_a_paper(clone: Clone) -> None:
    lines = block("docs/report.md", "ndcl report digits --paper")
    assert "paper: results/digits/paper" in clone.type(lines.line("ndcl report"))
    folder = clone.folder / "results" / "digits"
    assert "NDCL &" in (folder / "paper" / "results.tex").read_text()
    assert any((folder / "figures").iterdir())
    if shutil.which("pdflatex"):
        clone.type(lines.line("cd results"))
        assert (folder / "paper" / "paper.pdf").is_file()


def test_export_and_predict(clone: Clone, photos: Path) -> None:
    use = block("docs/start.md", "ndcl export digits --to models")
    clone.type(use.line("ndcl export"))
    assert {path.name for path in (clone.folder / "models").iterdir()} == {STUDY, STUDY.replace("ndcl", "erm", 1)}
    printed = clone.type(use.line("ndcl predict"))
    assert "[1] a b.png" in printed
    assert len(re.findall(r"\.(?:png|jpg)\b", printed)) >= 3


ACCURACY = """
import json
import ndcl
from ndcl.config import TrainConfig
from ndcl.data.problem import build_problem

model = ndcl.load_model("models/{study}")
config = TrainConfig.from_dict(model.description.origin["config"])
problem = build_problem(config.data, config.imbalance)
rows = problem.target_test
found = model.predict(problem.store.inputs(rows).numpy())
right = float((found.class_ids == problem.store.labels[rows]).mean())
print(json.dumps([right, model.description.origin["members"], float(found.disagreement.mean())]))
"""
"""Of the exported model on the images that the report is about."""


def reported(clone: Clone) -> dict:
    """The ensemble of NDCL as report.json has it."""
    [table] = json.loads((clone.folder / "results/digits/report.json").read_text())["tables"]
    accuracy = table["metrics"]["overall"]["ensembles"]["ndcl"]["sign"]["mean"]
    return {"accuracy": accuracy, **table["ensembles"]["ndcl"]["sign"]}


def test_the_exported_ensemble_has_the_accuracy_of_the_report(clone: Clone) -> None:
    right, members, apart = json.loads(clone.type("python -", text=ACCURACY.format(study=STUDY)))
    expected = reported(clone)
    assert members == [f"{STUDY}.final-000", f"{STUDY}.final-001"]
    assert right == pytest.approx(expected["accuracy"])
    assert apart == pytest.approx(expected["disagreement"], abs=1e-5)


def test_predict_images_and_files(clone: Clone, photos: Path) -> None:
    more = clone.folder / "more"
    more.mkdir()
    shutil.copy(photos / "3.png", more / "4.png")
    predict = block("docs/models.md", "ndcl predict models/")
    for line in predict.lines:
        clone.type(line)
    import pyarrow.parquet as pq

    table = pq.read_table(clone.folder / "photos.parquet").to_pydict()
    assert len(table["image"]) == 3
    assert set(table["class"]) <= {str(digit) for digit in range(10)}


def test_load_in_python(clone: Clone, photos: Path) -> None:
    shutil.copy(photos / "large.jpg", clone.folder / "a.jpg")
    shutil.copy(photos / "3.png", clone.folder / "b.png")
    script = block("docs/models.md", "import ndcl").text
    names = clone.type("python -", text=f"{script}\nprint(*found.names)").split()
    assert len(names) == 2
    assert set(names) <= set("0123456789")


def test_one_study_as_onnx(clone: Clone) -> None:
    line = MODELS.lines[1]
    assert "onnx" in line
    clone.type("rm -r models")
    clone.type(line)
    assert (clone.folder / "models" / STUDY / "model.onnx").is_file()
    right, *_ = json.loads(clone.type("python -", text=ACCURACY.format(study=STUDY)))
    assert right == pytest.approx(reported(clone)["accuracy"], abs=0.003)  # an image at most may be on the edge


def test_register_and_serve(clone: Clone, photos: Path) -> None:
    log, register, variable, serve = SERVE.lines
    clone.type(log)
    clone.type(register)
    shutil.copy(photos / "large.jpg", clone.folder / "digit.png")
    ask = block("docs/models.md", "curl -s")
    environment = clone.type(f"{variable} && echo $MLFLOW_TRACKING_URI").strip()
    with clone.start(f"env MLFLOW_TRACKING_URI={environment} {serve}") as server:
        server.wait_until(lambda: answers("http://127.0.0.1:5001/ping"))
        answer = clone.type(ask_of(ask))
    (prediction,) = json.loads(answer)["predictions"]
    assert set(prediction) == {"class", "class_id", "probability", "margin", "disagreement"}


def test_more_trials_and_seeds_by_editing_the_yaml(clone: Clone) -> None:
    before = records(clone.folder / "results")
    edit(clone, "num_trials", 3)
    edit(clone, "seeds", 3)
    clone.type(block("docs/start.md", "ndcl sweep search_spaces/digits.yaml").lines[0], *SMALL)
    after = records(clone.folder / "results")
    assert sum("search" in name for name in after) == 6
    assert sum("final" in name for name in after) >= 6  # more where new trials are better
    assert {name: after[name] for name in before if "search" in name} == {
        name: record for name, record in before.items() if "search" in name
    }
    clone.type(LOOK.line("ndcl report"))
    clone.type("rm -rf models")
    clone.type(MODELS.lines[0])


def test_one_model_for_a_site_without_labels(clone: Clone, photos: Path) -> None:
    line = block("docs/models.md", "ndcl deploy digits --to model").lines[0]
    printed = clone.type(line)
    assert "<- deployed" in printed
    card = (clone.folder / "model" / "MODEL_CARD.md").read_text()
    assert "trained on all 4 labelled domains: scan, texture, print, sign" in card
    (command,) = re.findall(r"^next: (.*) IMAGES\.\.\.$", printed, re.MULTILINE)
    assert "large.jpg" in clone.type(f"{command} photos/")
    model = json.loads((clone.folder / "model" / "model.json").read_text())
    assert list(model["origin"]["expected"]["accuracy_on_unseen_domains"]) == ["sign"]
    clone.type("rm -r model")
    assert "<- deployed" in clone.type(line)  # nothing is trained again


def test_photos_of_the_new_site(clone: Clone, photos: Path) -> None:
    look = block("docs/models.md", "ndcl shift model photos/")
    shown, told = map(clone.type, look.lines)
    assert "no number above is an accuracy" in shown
    assert list(json.loads(told.splitlines()[-1])["sources"]) == ["scan", "texture", "print", "sign"]
    one = clone.type("ndcl shift model photos/3.png", code=2)
    assert "photos/3.png: a site takes several images, and there are 1; give more" in one
    clone.type(f"ndcl export digits --study {STUDY} --to graph --format torch-export")
    assert "export it as safetensors" in clone.type(f"ndcl shift graph/{STUDY} photos/", code=2)
    text = (clone.folder / "model" / "model.json").read_text()
    (clone.folder / "model" / "model.json").write_text(json.dumps(json.loads(text) | {"sources": None}))
    again = clone.type("ndcl shift model photos/", code=2)
    assert (
        "model holds nothing of its source domains; export it again, where its data set is, with: ndcl export" in again
    )
    (clone.folder / "model" / "model.json").write_text(text)


def test_one_network_in_place_of_an_ensemble(clone: Clone, photos: Path) -> None:
    printed = clone.type(block("docs/models.md", "ndcl distill digits").lines[0])
    assert "distilled" in printed
    (command,) = re.findall(r"^next: (.*) IMAGES\.\.\.$", printed, re.MULTILINE)
    assert "large.jpg" in clone.type(f"{command} photos/")


def test_tracking(clone: Clone) -> None:
    tracking = block("docs/tracking.md", "ndcl ui")
    assert "has all of sweep digits" in clone.type(tracking.line("ndcl sync"))
    with clone.start(tracking.line("ndcl ui")) as ui:
        ui.wait_until(lambda: answers(f"{address(ui.text)}/health"))


def test_results_that_were_moved(clone: Clone, home: Path) -> None:
    move = block("docs/start.md", "mkdir -p ~/experiments")
    clone.type("\n".join(move.lines))
    assert (home / "models" / STUDY / "model.safetensors").is_file()
    moved = home / "experiments"
    assert "done" in clone.type("ndcl status digits", cwd=moved)
    assert "has all of sweep digits" in clone.type("ndcl sync digits", cwd=moved)
    edit(clone, "seeds", 3)
    yaml = clone.folder / "search_spaces" / "digits.yaml"
    clone.type(f"ndcl sweep {yaml}", *SMALL, cwd=moved)
    assert sum("final" in name for name in records(moved / "results")) >= 6
    clone.type("ndcl export digits --mlflow", cwd=moved)


def address(printed: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", printed)
    return found.group() if found else "http://127.0.0.1:9"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict = json.load(response)
    return answer


def ask_of(found: Block) -> str:
    """The command of a block that also shows the answer."""
    return "\n".join(line for line in found.text.splitlines() if not line.startswith('{"predictions"'))
