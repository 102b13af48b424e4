"""The HTML page in a real browser, where one is installed: no errors, no overflow, and the numbers are there."""

import json
import subprocess
from pathlib import Path

import pytest

from harness.report import write_report
from harness.report.files import compare_sweep
from tests.harness.report.html.test_page import Page, shown_numbers
from tests.made.made_large_sweep import written_sweep
from tests.servers.browsers import CHROMIUM, FLAGS, SECONDS, needs_chromium

PHONE, DESK = 390, 1280

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "digits_imbalance"
    records = written_sweep(folder)
    write_report(folder, compare_sweep(folder, records), records)
    return folder


def browse(page: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """What Chromium writes, and what it logs of the page's own doing."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_loads_without_errors_and_holds_the_numbers_of_the_json(folder, tmp_path):
    dom, problems = browse(folder / "report.html", tmp_path, "--dump-dom")
    assert problems == []
    numbers = shown_numbers(json.loads((folder / "report.json").read_text()))
    assert len(numbers) > 500
    assert not set(numbers) - set(Page(dom).words.split())


def test_an_error_would_be_seen(folder, tmp_path):
    page = tmp_path / "broken.html"
    page.write_text((folder / "report.html").read_text().replace("</main>", "<script>1</script></main>"))
    _, problems = browse(page, tmp_path / "profile", "--dump-dom")
    assert any("Content Security Policy" in line for line in problems)


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_is_wider_than_the_screen(folder, tmp_path, width):
    """A frame as wide as the screen, since a window is never narrower than 500 pixels; its page reports its width."""
    inner = (folder / "report.html").read_text()
    inner = inner[: inner.index("<meta http-equiv")] + inner[inner.index("<title>") :]  # the policy forbids scripts
    told = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script></body>"
    (tmp_path / "inner.html").write_text(inner.replace("</body>", told))
    (tmp_path / "outer.html").write_text(
        f'<iframe src="inner.html" style="width:{width}px;height:900px;border:0"></iframe>'
        "<script>onmessage = event => document.title = `width ${event.data}`</script>"
    )
    dom, _ = browse(tmp_path / "outer.html", tmp_path / "p", "--dump-dom", "--virtual-time-budget=5000")
    assert f"<title>width {width}</title>" in dom
