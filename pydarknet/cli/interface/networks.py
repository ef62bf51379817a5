"""The commands for pictures, training and networks."""

import click

from ..options import COUNT, FILE, POSITIVE, FiniteFloat, FlagsFirst, address_options, command, flag

SOURCE = click.argument("source", metavar="SOURCE", type=FILE)
batch = FlagsFirst("batch", help="An archive of pictures, or a data set, on a Ray cluster (extra `ray`).", commands=[
    command("detect", "batch.run_batch", """
    Detect objects in all pictures of an archive; write the results in parts, as detect --json prints them.

    SOURCE is a folder, a pattern, a list, an address of a store (s3://, gs://, file://), or Parquet files with the
    bytes of pictures. A picture that cannot be used is named in DIR/errors-*, with the reason; the others go on.

    $ pydarknet batch detect cfg/yolov4.cfg yolov4.weights photos/ --out found
    $ pydarknet batch detect cfg/yolov4.cfg yolov4.weights s3://bucket/photos --out found --address auto
    $ pydarknet batch detect cfg/yolov4.cfg yolov4.weights photos.parquet --out found --format parquet
    """,
    "cfg weights", SOURCE,
    "parts cluster size batch classes thresh hier nms letter_box stretch tiles names precise",
    kind="detect", threads=None,
    ),
    command("classify", "batch.run_batch", """
    Classify all pictures of an archive; write the results in parts, as classify --json prints them.

    SOURCE and DIR are those of `batch detect`.

    $ pydarknet batch classify cfg/tiny.cfg tiny.weights photos/ --out found
    """,
    "cfg weights", SOURCE, "parts cluster top fit size batch classes names precise",
    kind="classify", threads=None,
    ),
    command("map", "batch.run_map", """
    Print the report of `detector map`, to the same figures, computed on a cluster.

    $ pydarknet batch map data/obj.data yolov4-tiny.cfg backup/yolov4-tiny_best.weights --address auto
    """,
    "cluster measured", letter_box=False, threads=None,
    ),
])  # fmt: skip
COMMANDS = {each.name: each for each in (
    command("classify", "detect.run_classify", """
    Print the best classes of pictures and videos.

    An IMAGE is a file, a folder, a pattern, a list (train.txt), an address (rtsp://, http://) or a camera (camera:0).
    Without an IMAGE, or with -, paths are read from standard input.

    $ pydarknet classify cfg/tiny.cfg tiny.weights dog.jpg -t 3
    $ pydarknet classify cfg/tiny.cfg tiny.weights photos/ --json
    $ pydarknet classify cfg/tiny.cfg tiny.weights test.txt --csv classes.csv --quiet
    """,
    "cfg weights images top fit input shard",
    flag("out DIR", "With --shard: the folder for the parts.", needs=("shard",)), "names network",
    ),
    command("detect", "detect.run_detect", """
    Detect objects in pictures and videos.

    An IMAGE is a file, a folder, a pattern, a list (train.txt), an address (rtsp://, http://) or a camera (camera:0).
    Without an IMAGE, or with -, paths are read from standard input.

    Writes the last annotated picture to predictions.jpg, and an annotated video to predictions.avi.

    $ pydarknet detect cfg/yolov4.cfg yolov4.weights dog.jpg -ext_output
    $ pydarknet detect cfg/yolov4.cfg yolov4.weights 'photos/*.jpg' --out-dir found -out found.json
    $ pydarknet detect cfg/yolov4.cfg yolov4.weights train.txt --classes person,car --csv found.csv --no-picture
    $ pydarknet detect cfg/yolov4.cfg yolov4.weights street.mp4 --every 5 --crops parts --json
    """,
    "cfg weights images detection shard names network",
    ),
    command("track", "detect.run_track", """
    Track objects in a video, a stream, a camera (camera:0) or a sequence of pictures: each keeps its number.

    $ pydarknet track cfg/yolov4.cfg yolov4.weights street.mp4 --classes person,car --out-dir found
    $ pydarknet track cfg/yolov4.cfg yolov4.weights rtsp://camera/stream --count-line 0,.5,1,.5 --json
    $ pydarknet track cfg/yolov4.cfg yolov4.weights 'frames/%05d.jpg' --csv tracks.csv --no-picture
    """,
    "cfg weights images input",
    flag("thresh P", "The confidence above which a detection continues a track.", default=0.1),
    flag("track_thresh P", "The confidence above which a detection starts a track.",
         default=0.5),
    flag("patience SECONDS", "How long the track of an object that is not detected is kept.",
         type=click.FloatRange(0, 3600), default=1.0),
    flag("count_line X1,Y1,X2,Y2", "Count the objects whose centre crosses this line, given in "
         "pixels or in fractions of the frame. `in` is to the left, as seen from the first "
         "point towards the second. May be given several times.", multiple=True),
    "hier nms letter_box stretch ext_output out_dir no_picture",
    flag("show", "Show the frames in a window."), "names network",
    ),
    command("train", "train.run_train", """
    Train a detector or a classifier; the network's last layer decides which.

    With CFG, DATA is a .data file. Without, DATA is a data set of boxes: a folder of pictures with label files, a
    data.yaml, COCO's JSON or a VOC folder; or, with --resume, the folder of such a run.

    $ pydarknet train my-pictures/
    $ pydarknet train my-pictures/ --model yolov4-tiny --patience 5
    $ pydarknet train runs/train1 --resume
    $ pydarknet train data/obj.data yolov4-tiny.cfg yolov4-tiny.conv.29
    $ pydarknet train data/obj.data yolov4-tiny.cfg --resume
    """,
    "data_file",
    click.argument("cfg", type=FILE, required=False), "[weights]",
    flag("model NAME", "The network: a bundled one, such as yolov4-tiny, or a .cfg file. "
         "Default: chosen by the number of pictures and the processor."),
    flag("init WEIGHTS", "Initial weights, such as yolov4-tiny.conv.29."),
    flag("download", "Download the network's pretrained first layers if they are missing."),
    flag("out DIR", "The folder to make. Default: runs/train1, runs/train2, ..."),
    flag("minutes M", "Train for about M minutes: the first iterations are timed, and "
         "max_batches is set.", type=click.FloatRange(min=0.5)),
    flag("held_out P", "The fraction of the pictures to validate on, if the data set has no "
         "validation list.", type=click.FloatRange(0.01, 0.9), default=0.2),
    "size", "training",
    ),
    command("live", "serve.run_live", """
    Show a training run in the browser, while it runs or after it has ended.

    RUN is the folder of the run's weights and its train.jsonl, or the folder above.

    $ pydarknet live backup
    $ pydarknet live backup --csv figures.csv
    """,
    click.argument("run", type=FILE),
    address_options(8090, "Viewers need ?token=TOKEN in the address"),
    flag("csv FILE", "Write the metrics of all iterations as a CSV table, and exit.",
         "csv_file"),
    flag("tensorboard DIR", "Write the metrics for TensorBoard (extra `tensorboard`), and exit."),
    ),
    command("evaluate", "evaluate.run_evaluate", """
    Measure a detector on the pictures of the list `valid`: a table of classes, COCO's metrics, the worst pictures.

    $ pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights
    $ pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights --worst look_at --plot curves.png
    $ pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights --report report
    """,
    flag("sort ap|name|truths|missed", "The order of the classes.", default="ap"),
    flag("worst DIR", "Write the ten pictures with most missed objects into DIR: ground truth "
         "green, detections red."),
    flag("report DIR", "Write report.html and report.json into DIR: classes, confusions, "
         "curves, sizes, pictures (extra `plot`)."),
    "letter_box stretch", "measuring",
    ),
    command("info", "network_files.run_info", """
    Print the layer table as AlexeyAB's darknet prints it while loading, then totals.

    $ pydarknet info cfg/yolov4.cfg
    $ pydarknet info cfg/darknet19.cfg darknet19.weights --width 224 --height 224
    $ pydarknet info cfg/yolov4-tiny.cfg --json
    """,
    "cfg [weights] size object network",
    ),
    command("quantize", "export.run_quantize", """
    Measure what --precision int8 needs, on pictures of the kind that the network is for.

    Writes a small file; WEIGHTS stays as it is. Prints how many convolutions 8 bits compute, by how much the outputs
    differ, and what of the objects or classes is found again. Convolutions whose error stands out stay float32.

    $ pydarknet quantize cfg/yolov4.cfg yolov4.weights train.txt
    $ pydarknet detect cfg/yolov4.cfg yolov4.weights dog.jpg --precision int8
    """,
    "cfg weights",
    click.argument("images", type=FILE, nargs=-1, required=True, metavar="IMAGE..."),
    click.option("-o", "-out", "--out", type=FILE, metavar="FILE", help="The file to write. Default: the name of "
                 "WEIGHTS with .int8 in the place of .weights."),
    flag("limit N", "Use N pictures, evenly spaced among all.", default=50), "size network",
    ),
    command("speed", "speed.run_speed", """
    Time N forward passes on black pictures (default: 1000; with --layers 20), as darknet does.

    With --layers, prints for each layer: input and output size, median time, share of the total, GFLOP/s, and the
    share of the peak, which is the speed of the direct micro-kernel on data in the cache. The operations are those of
    the direct algorithm; with an algorithm that needs fewer, a layer can reach more than the peak.

    $ pydarknet speed cfg/yolov3-tiny.cfg 100
    $ pydarknet speed cfg/yolov4.cfg --size 416 --threads 1 --layers
    """,
    "cfg",
    click.argument("n", type=COUNT, required=False),
    flag("layers", "Time each layer; print the slowest first."),
    flag("weights FILE", "The weights. Default: random ones."),
    flag("size S", "Width and height of the network's input in pixels.", type=POSITIVE), "size",
    flag("batch N", "Pictures per forward pass.", type=click.IntRange(1, 1 << 16), default=1),
    "network",
    ),
    command("export", "export.run_export", """
    Write the network as an ONNX file, for other runtimes.

    $ pydarknet export cfg/yolov3-tiny.cfg yolov3-tiny.weights yolov3-tiny.onnx --check
    $ pydarknet export cfg/yolov4.cfg yolov4.weights yolov4.onnx --format boxes --nms --thresh 0.3
    $ pydarknet export cfg/yolov4-tiny.cfg yolov4-tiny.weights yolov4-tiny.onnx --format yolov8 --dynamic
    """,
    "cfg weights",
    click.argument("out", metavar="OUT.onnx", type=FILE),
    flag("format raw|boxes|yolov5|yolov8", "The outputs. raw: those of the last layers; boxes: "
         "corners and scores; yolov5, yolov8: one tensor, in the layout of Ultralytics' programs.",
         default="raw"),
    flag("nms", "Add non-maximum suppression to the graph."),
    flag("thresh P", "With --nms: keep boxes with a confidence above P. Default: darknet's.",
         needs=("nms",)),
    flag("iou_thresh IOU", "With --nms: suppress a box whose IoU with a better one of its "
         "class is above IOU.", default=0.45, needs=("nms",)),
    flag("dynamic", "Allow any batch, and any input size unless a layer fixes it."),
    flag("fp16", "Write weights and activations as float16; input and outputs stay float32."),
    flag("check", "Before writing, run the file in ONNX Runtime and compare its outputs with "
         "pydarknet's."),
    flag("tolerance X", "With --check: the largest difference allowed, relative to an output's "
         "largest value, or to 1 if that is smaller. Default: 0.001; with --fp16 0.03.",
         type=click.FloatRange(min=0), needs=("check",)),
    flag("batch N", "Pictures per forward pass.", type=click.IntRange(1, 1 << 10), default=1),
    "names size network",
    ),
    command("serve", "serve.run_serve", """
    Run a network as an HTTP service: POST /v1/detect or /v1/classify, and a web page.

    Needs the extra `serve`. After SIGTERM or Ctrl-C, the requests in progress are finished first.

    $ pydarknet serve cfg/yolov4-tiny.cfg yolov4-tiny.weights
    $ curl --data-binary @dog.jpg 'http://127.0.0.1:8080/v1/detect?thresh=0.3'
    """,
    "cfg weights",
    address_options(8080, "Answer only requests with the header Authorization: Bearer TOKEN"),
    flag("copies N", "Copies of the network, each of which computes a picture at the same time "
         "(default: one for each processor, up to 1 GiB).", type=click.IntRange(1, 64)),
    flag("batch N", "Up to N waiting pictures share a forward pass.",
         type=click.IntRange(1, 64), default=1),
    flag("queue N", "Requests in progress at a time; further ones are answered with 429.",
         type=click.IntRange(1, 10_000), default=64),
    flag("max_body MB", "The largest request, in megabytes.", type=FiniteFloat(min=0.001),
         default=20),
    flag("max_pixels MP", "The largest picture, in megapixels.", type=FiniteFloat(min=0.001),
         default=50),
    "size names network",
    ),
    batch,
)}  # fmt: skip
