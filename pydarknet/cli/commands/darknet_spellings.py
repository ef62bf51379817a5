"""darknet's own spellings for detectors: the groups `detector`, `yolo` and `coco`."""

from typing import Any

import click

from ..not_offered import DETECTOR_FLAGS, accept_flags
from ..options import FlagsFirst, command
from .anchors import calc_anchors_command
from .demo import demo_options, run_demo
from .detect import CommandDefaults, run_detect
from .evaluate import COCO_COMMANDS, YOLO_COMMANDS, map_command, recall_command, valid_command
from .train import run_train, train_options

DETECTOR = CommandDefaults(thresh=lambda dialect: dialect.detector_thresh)
YOLO_THRESH = 0.2
YOLO = CommandDefaults(thresh=lambda dialect: YOLO_THRESH, nms=0.4, letterbox=False, always_seconds=True)


@click.group("detector", cls=FlagsFirst)
def detector_command() -> None:
    """darknet's spelling of detect and train."""


@command("test", "data_file cfg weights images detection names network", group=detector_command)
def detector_test_command(data_file: str, cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Detect objects in pictures.

    \b
    Example:
      pydarknet detector test cfg/coco.data cfg/yolov4.cfg yolov4.weights dog.jpg -thresh .3 -ext_output
    """
    options["data"] = options["data"] or data_file
    run_detect(cfg, weights, images, {**options, "prompts": True}, DETECTOR)


@command("demo", "data_file", demo_options, group=detector_command)
def detector_demo_command(data_file: str, cfg: str, weights: str, video: str | None, **options: Any) -> None:
    """Detect objects in a video file, an address, a sequence of pictures or a camera.

    \b
    Examples:
      pydarknet detector demo cfg/coco.data cfg/yolov4.cfg yolov4.weights street.mp4 -out_filename found.avi -dont_show
      pydarknet detector demo cfg/coco.data cfg/yolov4.cfg yolov4.weights -c 0 -mjpeg_port 8090 -json_port 8070
      pydarknet detector demo cfg/coco.data cfg/yolov4.cfg yolov4.weights 'frames/%05d.jpg' -prefix found/frame
    """
    options["data"] = options["data"] or data_file
    run_demo(cfg, weights, video, options)


@command("train", train_options, group=detector_command)
def detector_train_command(data_file: str, cfg: str, weights: str | None, **options: Any) -> None:
    """Train a detector.

    \b
    Example:
      pydarknet detector train data/obj.data yolov4-tiny.cfg yolov4-tiny.conv.29 -dont_show
    """
    run_train(data_file, cfg, weights, options, detector=True)


for each in (calc_anchors_command, map_command, valid_command, recall_command):
    detector_command.add_command(each)
accept_flags(detector_command, DETECTOR_FLAGS)


def _yolov1_group(name: str, data_set: str, network: str, *commands: click.Command) -> click.Group:
    """The group `yolo` or `coco`: detection with YOLOv1, and `commands`. network: the one that the examples name."""

    def help_text(purpose: str, rest: str) -> str:
        example = f"pydarknet {name} {rest}"
        return f"Detect objects in {purpose}, with a default threshold of {YOLO_THRESH}.\n\n\b\nExample:\n  {example}"

    @click.group(name, cls=FlagsFirst, help=f"darknet's spelling of detect for YOLOv1 on {data_set}.")
    def group() -> None:
        pass

    files = f"cfg/{network}.cfg {network}.weights"

    demo_help = help_text("video", f"demo {files} street.mp4 -out_filename found.avi -dont_show")

    @command("demo", demo_options, group=group, help=demo_help)
    def demo(cfg: str, weights: str, video: str | None, **options: Any) -> None:
        run_demo(cfg, weights, video, options, thresh=YOLO_THRESH)

    test_help = help_text("pictures", f"test {files} dog.jpg")

    @command("test", "cfg weights images detection names network", group=group, help=test_help)
    def test(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
        run_detect(cfg, weights, images, {**options, "prompts": True}, YOLO)

    for each in commands:
        group.add_command(each)
    return group


yolo_command = _yolov1_group("yolo", "PASCAL VOC", "yolov1-tiny", *YOLO_COMMANDS)
coco_command = _yolov1_group("coco", "COCO", "yolov1-coco", *COCO_COMMANDS)
