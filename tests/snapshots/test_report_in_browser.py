"""The report as a browser shows it; skipped where no Chromium is installed.

The page forbids scripts, so it is measured from outside: a frame of the wanted width
inside a page that may run one.
"""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from run_assets.reports.content import ReportContent
from run_assets.reports.figures import figures
from run_assets.reports.render import render_html
from tests.support.report_content import hostile, night

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = {"phone": 400, "desktop": 1280}
MEASURE = """
const seen = {};
addEventListener("load", () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, view = frame.contentWindow;
    const all = (selector) => [...page.querySelectorAll(selector)];
    const isShown = (one) => one.getClientRects().length > 0;
    seen[frame.id] = {
      scroll_width: page.documentElement.scrollWidth,
      width: page.documentElement.clientWidth,
      headings: all("h2").map((one) => one.textContent.trim()),
      verdict: all(".headline").map((one) => one.textContent.trim()),
      plots: all(".plot").filter(isShown).map((one) => one.className),
      plot_fonts: all(".plot").filter(isShown).map((one) => {
        const svg = one.querySelector("svg");
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        const sizes = [...svg.querySelectorAll("text")].map(
          (text) => parseFloat(text.getAttribute("font-size")) * scale);
        return Math.min(...sizes);
      }),
      rows: all("tbody tr").length,
      foreign: all("script, img, iframe, object, embed, form").length,
      handlers: all("*").filter((one) =>
        one.getAttributeNames().some((name) => name.startsWith("on"))).length,
      requests: view.performance.getEntriesByType("resource").map((one) => one.name),
      background: view.getComputedStyle(page.body).backgroundColor,
    };
  }
  document.body.textContent = JSON.stringify(seen);
});
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def _measured(
    content: ReportContent, folder: Path, *flags: str
) -> dict[str, dict[str, Any]]:
    page = escape(render_html(content, figures(content)))
    frames = "".join(
        f'<iframe id="{name}" style="width:{width}px;height:900px;border:0" '
        f'srcdoc="{page}"></iframe>'
        for name, width in WIDTHS.items()
    )
    outside = folder / "outside.html"
    outside.write_text(
        f'<!doctype html><meta charset="utf-8"><body>{frames}'
        f"<script>{MEASURE}</script>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            *flags,
            "--dump-dom",
            outside.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r"<body>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:]
    measured: dict[str, dict[str, Any]] = json.loads(unescape(found[1]))
    return measured


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _measured(night(), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("attacked")
    return _measured(hostile(), folder, "--force-dark-mode")


@pytest.mark.parametrize("name", WIDTHS)
def test_nothing_sticks_out_at_the_side(
    seen: dict[str, Any], attacked: dict[str, Any], name: str
) -> None:
    for page in (seen[name], attacked[name]):
        assert page["scroll_width"] == page["width"]
        assert WIDTHS[name] - 20 <= page["width"] <= WIDTHS[name]


@pytest.mark.parametrize("name", WIDTHS)
def test_the_page_shows_its_verdict_and_all_sections(
    seen: dict[str, Any], name: str
) -> None:
    assert seen[name]["headings"] == [
        "What changed",
        "navigation",
        "Diagnosis",
        "Coverage and freshness",
        "Provenance",
    ]
    (verdict,) = seen[name]["verdict"]
    assert verdict.startswith("expected-sarsa leads, clearly ahead of 1 of 2 others")
    assert seen[name]["rows"] == 3 + 3 + 3 + 60 + 3 + 3


def test_each_width_has_plots_of_its_own_with_readable_labels(
    seen: dict[str, Any],
) -> None:
    assert seen["phone"]["plots"] == ["plot narrow"] * 9
    assert seen["desktop"]["plots"] == ["plot wide"] * 9
    for page in seen.values():
        assert min(page["plot_fonts"]) >= 10.5


@pytest.mark.parametrize("name", WIDTHS)
def test_nothing_is_requested_and_no_name_becomes_an_element(
    seen: dict[str, Any], attacked: dict[str, Any], name: str
) -> None:
    for page in (seen[name], attacked[name]):
        assert page["requests"] == []
        assert page["foreign"] == 0
        assert page["handlers"] == 0


def test_dark_mode_is_dark(seen: dict[str, Any], attacked: dict[str, Any]) -> None:
    assert seen["desktop"]["background"] == "rgb(255, 255, 255)"
    assert attacked["desktop"]["background"] == "rgb(20, 25, 31)"
