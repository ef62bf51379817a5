"""Every command that writes files, besides training, with what it reads."""

import shutil
from pathlib import Path

import cv2

from support.evaluation_files import evaluation_files

# Words of each command, and whether a part of what it writes may be there: one file for each picture or frame.
COMMANDS = {
    "convert to darknet": ("dataset convert net.data --to darknet --out new", False),
    "convert to voc": ("dataset convert net.data --to voc --out new --copy", False),
    "convert to coco": ("dataset convert net.data --to coco --out new --copy", False),
    "valid coco": ("detector valid net.data net.cfg net.weights --eval coco --results new", False),
    "valid voc": ("detector valid net.data net.cfg net.weights --eval voc --results new", True),
    "valid kitti": ("detector valid net.data net.cfg net.weights --eval kitti --results new", True),
    "evaluate": ("evaluate net.data net.cfg net.weights --json new.json --worst new", True),
    "demo video": ("detector demo net.data net.cfg net.weights in.avi -dont_show -out_filename new.avi", False),
    "demo frames": ("detector demo net.data net.cfg net.weights in.avi -dont_show -prefix new_", True),
    "demo json": ("detector demo net.data net.cfg net.weights in.avi -dont_show -json_file_output new.json", False),
    "detect": ("detect net.cfg net.weights data/a0.png data/b1.png -out new.json --out-dir new", True),
    "anchors": ("anchors train.txt -num_of_clusters 1 -width 32 -height 32 -cfg net.cfg -write new.cfg", False),
    "partial": ("partial net.cfg net.weights new.weights 1", False),
    "average": ("average net.cfg new.weights net.weights net.weights", False),
    "denormalize": ("denormalize net.cfg net.weights new.weights", False),
    "normalize": ("normalize net.cfg net.weights new.weights --write-cfg new.cfg", True),
    "reset": ("reset net.cfg net.weights new.weights", False),
    "rescale": ("rescale net.cfg net.weights new.weights", False),
    "rgbgr": ("rgbgr net.cfg net.weights new.weights", False),
    "cfg set": ("cfg set net.cfg new.cfg --classes 3", False),
    "track": ("track net.cfg net.weights in.avi --out-dir new --csv new.csv", True),
    "nightmare": ("nightmare net.cfg net.weights data/a0.png 1 -rounds 2", True),
    "mkimg": ("mkimg net.cfg net.weights 8 8 2 new", True),
    "imtest": ("imtest data/a0.png --out-dir new", True),
    "export": ("export net.cfg net.weights new.onnx", False),
    "visualize": ("visualize net.cfg net.weights --out-dir new", True),
}


def make_inputs(folder: Path) -> None:
    """What the commands read: a data set, a detector, a video."""
    evaluation_files(folder)
    (folder / "names").write_text("dog\ncat\n")
    writer = cv2.VideoWriter(str(folder / "in.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 48))
    for number in range(3):
        writer.write(cv2.imread(str(folder / f"data/{'ab'[number % 2]}{number}.png")))
    writer.release()


def copy_inputs(source: Path, folder: Path) -> None:
    """A copy of them that names its own files."""
    shutil.copytree(source, folder)
    for text in ("net.data", "train.txt"):
        (folder / text).write_text((folder / text).read_text().replace(str(source), str(folder)))


def written(known: set[str] | dict[str, int]) -> dict[str, int]:
    """Names and sizes of all files below the current folder that are not in `known`."""
    return {str(path): path.stat().st_size for path in Path().rglob("*") if path.is_file() and str(path) not in known}
