"""How a wheel with compiled kernels is put together; what its kernels do is in runtime/test_shipped.py."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pydarknet.network.network import Network
from pydarknet.runtime.cache import LEVELS
from release import hatch_hook, link, networks
from release.levels import ASKED, TARGETS, targets

ROOT = Path(__file__).resolve().parents[2]


# --- levels ---


def test_levels_are_those_of_the_processor():
    found = {target.level for kind in TARGETS.values() for target in kind}
    assert found == set(ASKED)
    assert found - {"aarch64"} <= set(LEVELS)


def test_features_that_kernels_ask_for_are_known():
    """A constant that depends on another feature would make shipped code differ from what a machine compiles."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "pydarknet" / "kernels").rglob("*.py")]
    asked = set(re.findall(r'has_feature\("(\w+)"\)', "\n".join(texts)))
    assert asked
    assert all(asked == set(flags) for flags in ASKED.values())
    for target in TARGETS["x86_64"]:
        for flag, has in ASKED[target.level].items():
            assert (f"+{flag}" in target.features.split(",")) == has


def test_the_environment_names_the_target_and_nothing_of_the_users(monkeypatch):
    monkeypatch.setenv("NUMBA_OPT", "0")
    target = TARGETS["x86_64"][0]
    environment = target.environment()
    assert {name for name in environment if name.startswith("NUMBA_")} == {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"}
    assert environment["NUMBA_CPU_NAME"] == "x86-64-v4"


def test_an_unknown_machine_is_named(monkeypatch):
    from release import levels

    monkeypatch.setattr(levels, "processor", lambda: type("Processor", (), {"machine": "sparc"}))
    with pytest.raises(
        ValueError, match=r"^sparc: expected a machine for which kernels are compiled: x86_64, aarch64$"
    ):
        targets()


# --- networks ---


def test_small_networks_can_be_built(tmp_path):
    from pydarknet.config.dialect import choose_dialect
    from pydarknet.config.sections import read_config

    paths = networks.small_networks(tmp_path)
    assert {path.stem for path in paths} == {"bottlenecks", "channels"}
    for path in paths:
        config = read_config(path)
        assert Network(config, choose_dialect("auto", config)).layers


def test_networks_are_bundled():
    assert [name for name in networks.RUN if not (ROOT / "cfg" / f"{name}.cfg").is_file()] == []
    assert set(networks.TRAINED) <= set(networks.RUN)


# --- linking ---


def test_a_missing_linker_is_named(monkeypatch):
    monkeypatch.setenv("CC", "no-such-linker")
    with pytest.raises(link.LinkError, match=r"^no-such-linker: not found; a wheel needs a C linker"):
        link.linker()


def test_what_the_linker_says_is_told(tmp_path):
    (tmp_path / "bad.o").write_bytes(b"no object file")
    with pytest.raises(link.LinkError, match=r"out\.so: "):
        link.link([tmp_path / "bad.o"], [], tmp_path / "out.so")
    assert not (tmp_path / "out.so").exists()


@pytest.mark.parametrize("code, expected", [
    (b"\0GLIBC_2.2.5\0GLIBC_2.14\0", (2, 17)), (b"\0GLIBC_2.2.5\0GLIBC_2.34\0", (2, 34)), (b"", (2, 17)),
])  # fmt: skip
def test_the_newest_version_of_the_c_library_counts(code, expected):
    assert link.glibc_of(code) == expected


# --- the wheel ---


class Hook(hatch_hook.ShippedKernels):
    def __init__(self):
        pass


def built(monkeypatch, folder, version="standard"):
    if folder is not None:
        monkeypatch.setenv(hatch_hook.FOLDER_VARIABLE, str(folder))
        monkeypatch.setenv(hatch_hook.PLATFORM_VARIABLE, "manylinux_2_17_x86_64")
    else:
        monkeypatch.delenv(hatch_hook.FOLDER_VARIABLE, raising=False)
    data = {"force_include": {}, "pure_python": True}
    Hook().initialize(version, data)
    return data


def test_a_wheel_gets_the_kernels_and_the_tag_of_their_platform(monkeypatch, tmp_path):
    (tmp_path / "x86-64-v3.so").touch()
    data = built(monkeypatch, tmp_path)
    assert data["tag"] == "py3-none-manylinux_2_17_x86_64"
    assert data["force_include"] == {str(tmp_path / "x86-64-v3.so"): "pydarknet/shipped/x86-64-v3.so"}
    assert data["pure_python"] is False


def test_other_wheels_are_for_any_platform(monkeypatch, tmp_path):
    (tmp_path / "x86-64-v3.so").touch()
    assert built(monkeypatch, None) == {"force_include": {}, "pure_python": True}
    assert built(monkeypatch, tmp_path, "editable") == {"force_include": {}, "pure_python": True}


def test_hatchling_finds_the_hook_also_in_the_sources():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (path,) = re.findall(r'^\[tool\.hatch\.build\.targets\.wheel\.hooks\.custom\]\npath = "(.*)"$', text, re.M)
    assert (ROOT / path).is_file()
    (included,) = re.findall(r"^\[tool\.hatch\.build\.targets\.sdist\]\ninclude = \[([^]]*)\]", text, re.M)
    assert '"release"' in included


# --- the container ---


def test_the_image_is_made_from_the_wheel_alone():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    (copied,) = re.findall(r"^COPY (\S+) ", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert patterns == ["*", f"!{copied}"]
    assert fnmatch("dist/pydarknet-0.1.0-py3-none-manylinux_2_17_x86_64.whl", copied)


def test_the_image_installs_what_the_wheel_requires():
    """But for OpenCV, whose headless package it takes."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (dependencies,) = re.findall(r"^dependencies = \[([^]]*)\]", project, re.M)
    required = set(re.findall(r'"([\w-]+)', dependencies))
    (installed,) = re.findall(r"pip install --no-cache-dir ((?:[\w-]+ )+)\\\n", text)
    assert set(installed.split()) == required - {"opencv-python"} | {"opencv-python-headless"}


@pytest.mark.slow
def test_the_images_command_runs_in_an_empty_folder(tmp_path):
    """What `docker run pydarknet` does."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (program,), words = (json.loads(re.search(rf"^{name} (\[.*\])$", text, re.M)[1]) for name in ("ENTRYPOINT", "CMD"))
    words = [str(tmp_path) if word == "/tmp" else word for word in words]
    done = subprocess.run([sys.executable, "-m", program, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "duck: " in done.stdout
    assert (tmp_path / "sample.jpg").is_file()


RECORD = """
from release.object_code import numba_type
from release.record import recorded
print(len({numba_type(kind) for wanted in recorded() for kind in wanted.kinds}))
"""


@pytest.mark.slow
def test_the_work_calls_every_kernel_of_a_wheel_with_arguments_that_can_be_compiled():
    result = subprocess.run([sys.executable, "-c", RECORD], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout) > 20
