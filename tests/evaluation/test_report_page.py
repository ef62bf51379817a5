"""The page of a report: what it says, that it needs no other file, and what a browser makes of it."""

import json
import re
from html.parser import HTMLParser

import pytest
from support.browser import errors, resources, use_scheme
from support.evaluation_files import evaluation_files
from support.training_files import detection_files

import pydarknet
from pydarknet.cli.formats.evaluation import evaluation_metrics
from pydarknet.evaluation import GroundTruth, evaluate
from pydarknet.evaluation.report import ReportCollector, write_report

pytest.importorskip("matplotlib", reason="needs the extra `plot`")


class Words(HTMLParser):
    """The elements of a page by name, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def of(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a report, with awkward names of classes."""
    tmp_path = tmp_path_factory.mktemp("report")
    files, weights = evaluation_files(tmp_path)
    (tmp_path / "names").write_text('_<b>"&\ncost: 5$ or 6$\n')
    model = pydarknet.load(files.cfg, weights, dialect="alexeyab", names=tmp_path / "names")
    truth = GroundTruth.read(tmp_path / "train.txt", 2)
    seen = ReportCollector(model, model.names, truth)
    result = evaluate(model, truth, coco=True, each=seen.add)
    figures = evaluation_metrics(result, model.names)
    assert write_report(tmp_path / "report", seen, result, "net.cfg & more", figures) == tmp_path / "report/report.html"
    return tmp_path / "report"


def test_the_page_is_whole_and_alone(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    page = Words(text)
    assert not page.of("script") and not page.of("link")[1:]
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.of("img"))
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"|url\((?!#)", text)
    assert all(image["alt"] for image in page.of("img")) and page.of("img")
    charts = page.of("svg")
    assert len(charts) == 5 and all(chart["aria-label"] and chart["role"] == "img" for chart in charts)
    names = [value for _, attributes in page.elements for name, value in attributes.items() if name == "id"]
    assert len(names) == len(set(names)), "no two elements share an id"
    assert "_&lt;b&gt;&quot;&amp;" in text and "<b>" not in text
    assert "$" not in text.replace("5$ or 6$", "")
    for word in ("mAP@0.50", "30.83%", "Confusions", "F1 over the threshold", "Recommended threshold", "Most missed"):
        assert word in text, word


def test_the_figures_are_those_of_the_page(report):
    figures = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert figures["mean_average_precision"] == pytest.approx(0.308333, abs=1e-6)
    assert figures["classes"][0]["tp"] == 5
    assert sum(map(sum, figures["confusion"]["counts"][:2])) == figures["truths"] == 10
    assert len(figures["object_sizes"]) == 10
    assert figures["anchors"] == [[12, 12]]
    assert figures["recommended_f1"] == max(figures["f1"]["mean"])
    assert f"{figures['recommended_threshold']:.2f}" in (report / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(browser, report, width, scheme):
    use_scheme(browser, scheme)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get((report / "report.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert [name for name in resources(browser) if not name.startswith("data:")] == []
    assert errors(browser) == []
    ink, paper = browser.execute_script(
        "const style = getComputedStyle(document.body);"
        "const text = getComputedStyle(document.querySelector('svg text'));"
        "return [text.fill, style.color];"
    )
    assert ink == paper, "the charts have the colour of the text"
    drawn = browser.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert drawn
    if width > 1000:
        pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
        assert len(pdf["data"]) > 10000


@pytest.mark.slow
def test_no_objects_and_many_classes(tmp_path):
    """Pictures without objects, and a network of 40 classes: a list of confusions in place of the matrix."""
    files = detection_files(tmp_path, objects=False, classes=40, filters=45)
    text = files.cfg.read_text().replace("filters=45", "filters=8", 1)
    files.cfg.write_text(text)
    model = pydarknet.load(files.cfg, dialect="alexeyab")
    truth = GroundTruth.read(tmp_path / "train.txt", 40)
    seen = ReportCollector(model, model.names, truth)
    result = evaluate(model, truth, each=seen.add)
    page = write_report(tmp_path / "report", seen, result, "empty").read_text(encoding="utf-8")
    assert "No class was taken for another." in page
    assert "40 classes without objects" in page or "classes without objects" in page
    seen.confusion[3, 7] = 5
    assert "<td>7</td><td>5</td>" in write_report(tmp_path / "report", seen, result, "x").read_text(encoding="utf-8")
