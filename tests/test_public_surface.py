"""What `import pydarknet` offers, and what it does not import before it is asked."""

import inspect
import subprocess
import sys

import pytest

import pydarknet

HEAVY = ("numpy", "numba", "llvmlite", "cv2", "click", "onnx")

PUBLIC = [
    "Box", "ConfigError", "DarknetError", "DataError", "Detection", "Detections", "DivergedError", "DownloadError",
    "ImageError", "Model", "OptionError", "OutputError", "ShapeError",
    "WeightsError", "__version__", "download", "load", "train",
]  # fmt: skip

# The API that documents and users rely on: names and defaults may be added, not changed.
SIGNATURES = {
    "load": "cfg, weights=None, *, dialect='auto', width=None, height=None, batch=1, threads=None, allow_partial=False",
    "download": "name, to=None, url=None",
    "Model.forward": "self, x",
    "Model.layer_outputs": "self, x",
    "Model.classify": "self, image, top=5, fit='auto'",
    "Model.detect": "self, image, thresh=None, hier=0.5, nms=0.45",
    "Model.save_weights": "self, path, cutoff=None",
    "Model.reset_state": "self",
}
PROPERTIES = ["names", "input_shape", "ops"]


def python(code):
    """What a fresh interpreter prints."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return result.stdout.strip()


def test_the_public_names_are_these():
    assert sorted(pydarknet.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name):
    assert getattr(pydarknet, name) is not None


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'pydarknet' has no attribute 'lode'"):
        pydarknet.lode  # noqa: B018


def test_dnn_is_there_without_an_import_of_its_own():
    assert python("import pydarknet; print(pydarknet.dnn.DNN_TARGET_CUDA)") == "6"


def test_importing_it_imports_nothing_heavy():
    assert python(f"import sys, pydarknet; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_errors_are_caught_without_the_engine():
    code = "import sys, pydarknet; pydarknet.ShapeError, pydarknet.__version__; print('numpy' in sys.modules)"
    assert python(code) == "False"


@pytest.mark.slow
def test_a_star_import_brings_every_name():
    assert python("from pydarknet import *; print(load.__name__, Box(1, 2, 3, 4).left)") == "load -0.5"


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_signatures_begin_as_promised(name):
    found = pydarknet
    for part in name.split("."):
        found = getattr(found, part)
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(found).parameters.values()]
    text = str(inspect.Signature(parameters)).strip("()")
    assert text.startswith(SIGNATURES[name])


@pytest.mark.parametrize("name", PROPERTIES)
def test_models_have_these_properties(name):
    assert isinstance(inspect.getattr_static(pydarknet.Model, name), property)
