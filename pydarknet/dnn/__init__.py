"""What programs used of `cv2.dnn` for darknet networks, which OpenCV 5 no longer reads.

`import pydarknet.dnn as dnn` in place of `from cv2 import dnn` is the whole change: `readNetFromDarknet` gives a
`Net` with OpenCV's names of layers and rows of detections, computed by pydarknet's engine. Functions of pictures
and boxes are the installed OpenCV's own. `error` is what bad input raises.
"""

from cv2.dnn import NMSBoxes, blobFromImage, blobFromImages

from ..errors import DarknetError as error  # noqa: N813
from .models import ClassificationModel, DetectionModel, Model
from .names import (
    DNN_BACKEND_CANN,
    DNN_BACKEND_CUDA,
    DNN_BACKEND_DEFAULT,
    DNN_BACKEND_HALIDE,
    DNN_BACKEND_INFERENCE_ENGINE,
    DNN_BACKEND_OPENCV,
    DNN_BACKEND_TIMVX,
    DNN_BACKEND_VKCOM,
    DNN_BACKEND_WEBNN,
    DNN_TARGET_CPU,
    DNN_TARGET_CPU_FP16,
    DNN_TARGET_CUDA,
    DNN_TARGET_CUDA_FP16,
    DNN_TARGET_FPGA,
    DNN_TARGET_HDDL,
    DNN_TARGET_MYRIAD,
    DNN_TARGET_NPU,
    DNN_TARGET_OPENCL,
    DNN_TARGET_OPENCL_FP16,
    DNN_TARGET_VULKAN,
)
from .net import Layer, Net, readNet, readNetFromDarknet

__all__ = [
    "DNN_BACKEND_CANN",
    "DNN_BACKEND_CUDA",
    "DNN_BACKEND_DEFAULT",
    "DNN_BACKEND_HALIDE",
    "DNN_BACKEND_INFERENCE_ENGINE",
    "DNN_BACKEND_OPENCV",
    "DNN_BACKEND_TIMVX",
    "DNN_BACKEND_VKCOM",
    "DNN_BACKEND_WEBNN",
    "DNN_TARGET_CPU",
    "DNN_TARGET_CPU_FP16",
    "DNN_TARGET_CUDA",
    "DNN_TARGET_CUDA_FP16",
    "DNN_TARGET_FPGA",
    "DNN_TARGET_HDDL",
    "DNN_TARGET_MYRIAD",
    "DNN_TARGET_NPU",
    "DNN_TARGET_OPENCL",
    "DNN_TARGET_OPENCL_FP16",
    "DNN_TARGET_VULKAN",
    "ClassificationModel",
    "DetectionModel",
    "Layer",
    "Model",
    "NMSBoxes",
    "Net",
    "blobFromImage",
    "blobFromImages",
    "error",
    "readNet",
    "readNetFromDarknet",
]
