"""What describes the project to others says the same in each place: pyproject.toml, the conda recipe, CITATION.cff."""

import re
import sys
from pathlib import Path

import pytest

from pydarknet.version import __version__

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"opencv-python": "py-opencv"}  # as conda-forge calls them
CORE = {"numpy", "numba", "opencv-python", "click"}


@pytest.fixture(scope="module")
def project():
    if sys.version_info < (3, 11):
        pytest.skip("tomllib comes with Python 3.11")
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def recipe():
    """The recipe as conda reads it: a template first, then YAML."""
    yaml, jinja2 = pytest.importorskip("yaml"), pytest.importorskip("jinja2")
    text = (ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(jinja2.Template(text, undefined=jinja2.ChainableUndefined).render(PYTHON="python"))


def name_and_bound(requirement):
    return re.fullmatch(r"([\w-]+)\s*(>=[\d.]+)", requirement).groups()


def test_the_core_has_its_four_dependencies(project):
    assert {name_and_bound(requirement)[0] for requirement in project["dependencies"]} == CORE


def test_the_recipe_has_the_dependencies_of_the_package(project, recipe):
    wanted = {(CONDA_NAMES.get(name, name), bound) for name, bound in map(name_and_bound, project["dependencies"])}
    found = {name_and_bound(requirement) for requirement in recipe["requirements"]["run"]}
    assert found == wanted | {("python", project["requires-python"])}


def test_the_recipe_installs_the_program_of_this_version(project, recipe):
    assert recipe["package"] == {"name": project["name"], "version": __version__}
    assert recipe["build"]["entry_points"] == [f"{name} = {target}" for name, target in project["scripts"].items()]
    assert recipe["about"]["license"] == "MIT"
    assert (ROOT / "recipe" / recipe["source"]["path"] / recipe["about"]["license_file"]).is_file()


def test_the_citation_is_of_this_version():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert (citation["title"], citation["version"], citation["license"]) == ("pydarknet", __version__, "MIT")
    assert citation["authors"] == [{"name": "The pydarknet authors"}]
    assert citation["message"]


def test_every_file_that_the_source_archive_names_is_there():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"targets\.sdist\]\ninclude = \[(.*?)\]", text, re.DOTALL)[1]
    assert [name for name in re.findall(r'"([^"]+)"', listed) if not (ROOT / name).exists()] == []
