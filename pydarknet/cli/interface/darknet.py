"""darknet's own spellings: the groups `detector`, `classifier`, `yolo`, `coco` and `rnn`; `ops`."""

from typing import Any

import click

from ..not_offered import CLASSIFIER_FLAGS, DETECTOR_FLAGS, accept_flags
from ..options import ABOVE_ZERO, COUNT, FILE, POSITIVE, FlagsFirst, Row, batch_option, command, flag, together

KINDS = ("voc", "coco", "imagenet", "bdd", "kitti")  # of result files
YOLO_THRESH = 0.2
demo_options = together(
    "cfg weights [video] camera thresh",
    flag("hier P", "In word trees, report the deepest class whose probability is above P; "
         "AlexeyAB's dialect takes -thresh instead.", default=0.5),
    flag("avgframes N", "pjreddie: average the network's output over N frames. AlexeyAB: draw "
         "the objects into the frame N/2 earlier.", "-avg", "--avg",
         type=click.IntRange(1, 1000), default=3),
    "out_filename",
    flag("prefix P", "Write annotated frames to P_00000001.jpg and so on; no window.",
         type=FILE),
    flag("json_file_output FILE", "Write the objects of all frames as JSON."),
    flag("json_port PORT", "Serve the objects as a JSON stream over HTTP. 0: any free port."),
    flag("mjpeg_port PORT", "Serve the annotated frames as MJPEG over HTTP. 0: any free port."),
    "bind",
    flag("http_post_host URL", "Send the names of each frame's objects to URL as text, by HTTP "
         "POST; with -time_limit_sec only those of one frame."),
    "window ext_output letter_box",
    flag("dontdraw_bbox", "Neither draw nor print objects."),
    click.option("-s", "skip", type=COUNT, default=0, metavar="N", help="Show each annotated frame in "
                 "place of the next N."),
    click.option("-w", "frame_width", type=POSITIVE, metavar="W", help="Ask the camera for frames W pixels wide."),
    click.option("-h", "frame_height", type=POSITIVE, metavar="H", help="Ask the camera for frames H pixels high."),
    flag("fps N", "Ask the camera for N frames per second."),
    flag("fps_lim N", "Process at most N frames per second.", type=ABOVE_ZERO),
    "time_limit_sec benchmark names network",
)  # fmt: skip
network_and_names = together("cfg weights", batch_option(default=4), "names network")
out_options = together(
    flag("out NAME", "The start of the file names, instead of darknet's."),
    flag("results DIR", "The folder for the files. Default: that of the .data file, else results."),
)
validation = together(
    "data_file cfg weights top batch",
    flag("json FILE", "Write accuracies, speed and the confusion matrix to FILE as JSON.", "json_file"), "network",
)  # fmt: skip
SEED = flag("seed TEXT", "The text that the network reads first. Default: two newlines.",
            default="\n\n", show_default=False)  # fmt: skip
INPUT = flag("file FILE", "Read this file instead of standard input.")


def _yolov1_group(name: str, data_set: str, network: str, pictures: str, **valid: Any) -> click.Group:
    """The group `yolo` or `coco`. network: the one that examples name. pictures: the default list. valid: of
    result files."""
    list_option = flag("list FILE", "The pictures, one path per line.", "list_file", default=pictures)
    files, lists = f"cfg/{network}.cfg {network}.weights", "cfg/yolov1.cfg yolov1.weights --list pictures.txt"
    defaults = f"with a default threshold of {YOLO_THRESH}."
    table: tuple[tuple[str, str, str, str, tuple[Row, ...], dict[str, Any]], ...] = (
        ("demo", "demo.run_demo", f"Detect objects in video, {defaults}",
         f"{files} street.mp4 -out_filename found.avi -dont_show", (demo_options,), {"thresh": YOLO_THRESH}),
        ("test", "detect.run_detect", f"Detect objects in pictures, {defaults}", f"{files} dog.jpg",
         ("cfg weights images detection names network",),
         {"thresh": YOLO_THRESH, "nms": 0.4, "letterbox": False, "in_seconds": True, "prompts": True}),
        ("valid", "evaluate.run_yolov1_valid",
         f"Write the detections in the pictures of a list as result files of {data_set}.", lists,
         (list_option, out_options, network_and_names), valid),
        ("recall", "evaluate.run_recall",
         "Print the recall of boxes of any class on a list of pictures; on standard error, as in darknet.", lists,
         (list_option, network_and_names), {}),
    )  # fmt: skip
    return FlagsFirst(name, help=f"darknet's spelling of detect for YOLOv1 on {data_set}.", commands=[
        command(verb, work, f"{text}\n\n$ pydarknet {name} {verb} {example}", *rows, **further)
        for verb, work, text, example, rows, further in table
    ])  # fmt: skip


FILES = "cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights"
detector = FlagsFirst("detector", help="darknet's spelling of detect and train.", commands=[
    command("test", "detect.run_detect", """
    Detect objects in pictures.

    $ pydarknet detector test cfg/coco.data cfg/yolov4.cfg yolov4.weights dog.jpg -thresh .3 -ext_output
    """,
    "data_file cfg weights images detection names network", thresh_of="detector_thresh", prompts=True,
    ),
    command("demo", "demo.run_demo", """
    Detect objects in a video file, an address, a sequence of pictures or a camera.

    $ pydarknet detector demo cfg/coco.data cfg/yolov4.cfg yolov4.weights street.mp4 -out_filename found.avi -dont_show
    $ pydarknet detector demo cfg/coco.data cfg/yolov4.cfg yolov4.weights -c 0 -mjpeg_port 8090 -json_port 8070
    $ pydarknet detector demo cfg/coco.data cfg/yolov4.cfg yolov4.weights 'frames/%05d.jpg' -prefix found/frame
    """,
    "data_file", demo_options,
    ),
    command("train", "train.run_with_cfg", """
    Train a detector.

    $ pydarknet detector train data/obj.data yolov4-tiny.cfg yolov4-tiny.conv.29 -dont_show
    """,
    "data_file cfg [weights] training", detector=True,
    ),
    command("calc_anchors", "files.run_calc_anchors", """
    Find anchors as AlexeyAB's darknet does; writes anchors.txt and counters_per_class.txt.

    $ pydarknet detector calc_anchors data/obj.data -num_of_clusters 9 -width 416 -height 416
    """,
    click.argument("data", metavar="DATA", type=FILE),
    click.option("-num_of_clusters", "--num-of-clusters", "-n", "count", type=POSITIVE, default=5, show_default=True,
                 metavar="N", help="The number of anchors."),
    "clustering",
    flag("show", "Ignored; `pydarknet anchors --plot` draws the anchors."),
    ),
    command("map", "evaluate.run_map", """
    Print AlexeyAB's report of the mean average precision on the pictures of the list `valid`.

    The default dialect is AlexeyAB's, because only his darknet has this command. COCO's metrics and the speed go to
    standard error.

    $ pydarknet detector map data/obj.data yolov4-tiny.cfg backup/yolov4-tiny_best.weights -iou_thresh .75
    """,
    flag("letter_box", "Ignored, as in darknet: letter_box=1 in the cfg decides."),
    flag("dont_show", "Accepted; nothing is shown.", expose_value=False), "measuring",
    ),
    command("valid", "evaluate.run_valid", """
    Write the detections in the pictures of the list `valid` as result files of VOC, COCO, ImageNet, BDD or KITTI.

    $ pydarknet detector valid cfg/coco.data cfg/yolov4.cfg yolov4.weights --eval coco -out my_results
    """,
    out_options,
    flag("eval", "The file format. Default: `eval` of the .data file, else voc.", "kind",
         type=click.Choice(KINDS)),
    "data_file", network_and_names,
    ),
    command("recall", "evaluate.run_recall", """
    Print the recall of boxes of any class on the list `valid`, after each picture.

    The lines go to standard error, as in darknet.

    $ pydarknet detector recall data/voc.data cfg/yolov2-voc.cfg yolov2-voc.weights
    """,
    "data_file", network_and_names,
    ),
])  # fmt: skip
accept_flags(detector, DETECTOR_FLAGS)
classifier = FlagsFirst("classifier", help="darknet's spelling of classify and train; accuracy on lists of pictures; "
                        "the outputs for each picture.", commands=[
    command("predict", "detect.run_classify", """
    Print the best classes of each picture: as many as the .data file's `top` says (else 1).

    $ pydarknet classifier predict cfg/imagenet1k.data cfg/tiny.cfg tiny.weights dog.jpg
    """,
    "data_file cfg weights images top fit input names network", prompts=True,
    ),
    command("demo", "demo.run_classifier_demo", """
    Print the best classes of each frame of a video file, an address, a sequence of pictures or a camera.

    Prints as many classes as -t or the .data file's `top` says, else 1.

    $ pydarknet classifier demo cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights street.mp4 -dont_show
    $ pydarknet classifier demo cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights -c 0 -t 5
    """,
    "data_file cfg weights [video] camera top",
    flag("json", "Print one JSON object per frame and nothing else.", "as_json"),
    "out_filename window time_limit_sec benchmark names network",
    ),
    command("train", "train.run_with_cfg", """
    Train a classifier.

    $ pydarknet classifier train data/cifar.data cfg/cifar.cfg
    """,
    "data_file cfg [weights] training", detector=False,
    ),
    command("valid", "classifier.run_valid", """
    Print top-1 and top-k accuracy on the pictures of the list `valid`, after each picture.

    A picture's class is the first one whose label occurs in its path. pjreddie's darknet takes the largest square in
    the middle of a picture, AlexeyAB's the middle of the resized picture. The most frequent mistakes and the speed go
    to standard error.

    $ pydarknet classifier valid cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights -t 5 --json figures.json
    """,
    validation,
    ),
    *(
        command(name, "classifier.run_valid",
                f"The same as `valid` for {inputs}.\n\n$ pydarknet classifier {name} {FILES}", validation, views=views)
        for name, views, inputs in (
            ("valid10", "ten_crops", "the sum of the outputs for ten crops of each picture"),
            ("validmulti", "several_sizes", "the sum of the outputs at several sizes, mirrored and not"),
            ("validfull", "whole", "whole pictures: the network is resized to each of them"),
        )
    ),
    command("validcrop", "classifier.run_validcrop", """
    Print the accuracy on stretched pictures, a line for about every thousand of them.

    The list is divided into parts of about 1000 pictures; each line is the mean over the parts so far. As in darknet, a
    picture may have several classes, one of which must be found. A list of fewer than 1000 pictures, which darknet
    rejects, is one part.

    $ pydarknet classifier validcrop cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights
    """,
    validation,
    ),
    command("label", "classifier.run_label", """
    Print the name of the best class of each picture of the list `test`.

    $ pydarknet classifier label pets.data pets.cfg pets.weights > labels.txt
    """,
    "data_file cfg weights batch network",
    ),
    command("test", "classifier.run_test", """
    Print the path and all outputs of each picture of the list `test`, stretched to the network's size.

    Pictures are processed in mini-batches of the cfg's size. As in darknet, the last mini-batch is left out, full or
    not; --all prints it. LAYER is accepted and ignored, as in darknet.

    $ pydarknet classifier test pets.data pets.cfg pets.weights --all > outputs.tsv
    """,
    "data_file cfg weights",
    click.argument("layer", required=False),
    flag("all", "Also the pictures at the end of the list that darknet leaves out."), "network",
    ),
    command("csv", "classifier.run_csv", """
    Print the path and the best class numbers of each picture of the list `test`, letterboxed.

    $ pydarknet classifier csv pets.data pets.cfg pets.weights -t 3 > best.tsv
    """,
    "data_file cfg weights top batch network",
    ),
    command("fout", "classifier.run_fout", """
    Print the path and the outputs of each picture of LIST, cropped to its middle.

    With a word tree, the outputs are the absolute probabilities of all nodes.

    $ pydarknet classifier fout pets.data pets.cfg pets.weights pictures.txt > outputs.tsv
    """,
    "data_file cfg weights",
    click.argument("list_file", metavar="LIST", type=FILE), "batch", "network",
    ),
])  # fmt: skip
accept_flags(classifier, CLASSIFIER_FLAGS)
rnn = FlagsFirst("rnn", help="Train a recurrent network on text, generate text, measure how well it "
                 "predicts a text.", commands=[
    command("train", "train.run_rnn_train", """
    Train a network to predict each symbol of a text from those before it.

    $ pydarknet rnn train cfg/rnn.train.cfg -file tales.txt
    $ pydarknet rnn train cfg/rnn.train.cfg -file tales.txt --resume
    """,
    "cfg [weights]",
    flag("file FILE", "The text to train on.", required=True),
    flag("tokenized", "The file holds numbers, one per symbol, instead of text."), "clear",
    flag("seed N", "Seed of all random numbers; the same seed gives the same weights. Default: "
         "0.", "-srand", "--srand", "-rseed", "--rseed", type=COUNT),
    "max_batches",
    flag("backup DIR", "The folder for weights.", default="backup"),
    "resume save_every no_chart network",
    ),
    command("generate", "rnn.run_generate", """
    Continue a text, symbol by symbol.

    $ pydarknet rnn generate cfg/rnn.cfg backup/rnn_final.weights -seed 'Once upon ' -len 200 -temp .5 -srand 1
    """,
    flag("len N", "Symbols to generate.", "count", type=COUNT, default=1000),
    flag("temp T", "Temperature of the softmax: below 1, probable symbols become more probable.",
         type=ABOVE_ZERO, default=0.7),
    flag("srand N", "Seed of the random numbers; the same seed gives the same text. Default: a "
         "random one.", "-rseed", "--rseed", type=COUNT),
    flag("tokens FILE", "Print the names of symbols in FILE, one per line, instead of "
         "characters."),
    "cfg weights", SEED, "network",
    ),
    command("valid", "rnn.run_valid", """
    Measure how well the network predicts a text from standard input. The last line is for the whole text.

    $ pydarknet rnn valid cfg/rnn.cfg backup/rnn_final.weights < held_out.txt | tail -n 1
    """,
    INPUT, "cfg weights", SEED, "network",
    ),
    command("vec", "rnn.run_vec", """
    Print each line of standard input without spaces, followed by the first layer's output.

    $ pydarknet rnn vec cfg/rnn.cfg backup/rnn_final.weights < words.txt > vectors.csv
    """,
    INPUT, "cfg weights", SEED, "network",
    ),
])  # fmt: skip
COMMANDS = {each.name: each for each in (
    detector, classifier, rnn,
    _yolov1_group("yolo", "PASCAL VOC", "yolov1-tiny", "2007_test.txt", kind="voc", thresh=0.001),
    _yolov1_group("coco", "COCO", "yolov1-coco", "data/coco_val_5k.list", kind="coco", thresh=0.01),
    command("ops", "network_files.run_ops", """
    Print the floating-point operations of one picture as darknet counts them.

    $ pydarknet ops cfg/darknet19.cfg --width 224 --height 224
    """,
    "cfg size network",
    ),
)}  # fmt: skip
