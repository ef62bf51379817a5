"""The commands for data sets, network files, weights files, pictures of networks, and for this program."""

import click

from ...errors import OptionError
from ..not_offered import when_given
from ..options import COUNT, FILE, POSITIVE, FiniteFloat, FlagsFirst, command, flag, together

SEED = flag("seed N", "Seed of all random numbers; the same seed gives the same pictures.",
            type=COUNT, default=0)  # fmt: skip
FOLDER = flag("out_dir DIR", "The folder for the pictures. Default: the current one.", default=".", show_default=False)
IN_AND_OUT = together("cfg weights", click.argument("out", metavar="OUT", type=FILE))
WRITE_CFG = flag("write_cfg OUT.cfg", "Also write the cfg for the new weights file.")


def _refuse(option: click.Parameter) -> None:
    raise OptionError("nightmare -reconstruct is not offered: in darknet it does nothing without a GPU")


dataset = FlagsFirst("dataset", help="Check and convert data sets of detectors.", commands=[
    command("check", "files.run_dataset_check", """
    Print what is missing, wrong or duplicate in a data set, and the number of objects of each class.

    DATA_OR_LIST is a .data file, whose lists train, valid and test are read, a list of pictures, a folder of pictures
    with label files, or a data.yaml. The exit code is 1 if there are errors.

    $ pydarknet dataset check my-pictures/
    $ pydarknet dataset check data/obj.data
    $ pydarknet dataset check train.txt --names obj.names --no-decode
    """,
    click.argument("data", metavar="DATA_OR_LIST", type=FILE),
    flag("names FILE", "Class names, one per line. Default: those of the .data file."),
    flag("dialect pjreddie|alexeyab", "The darknet whose rule for the place of label files is "
         "tried first.", default="alexeyab"),
    flag("no_decode", "Do not decode the pictures, which takes long for large data sets."),
    flag("show N", "Print the first N findings of each kind.", type=COUNT, default=20),
    flag("strict", "Treat warnings as errors."),
    ),
    command("convert", "files.run_convert", """
    Convert a data set between darknet's label files, PASCAL VOC's XML and COCO's JSON.

    SOURCE is a .data file or a list of pictures, a folder of pictures with label files or a data.yaml, a VOC folder (or
    one of XML files), or COCO's JSON files. The new data set is written completely or not at all.

    $ pydarknet dataset convert obj.data --to coco --out obj-coco
    $ pydarknet dataset convert VOC2007 --to darknet --out voc --names data/voc.names
    $ pydarknet dataset convert instances_train2017.json instances_val2017.json --pictures coco --to darknet --out mine
    """,
    click.argument("sources", metavar="SOURCE...", type=FILE, nargs=-1, required=True),
    flag("to darknet|voc|coco", "The format to write.", "to", required=True),
    flag("out DIR", "The folder to write.", required=True),
    flag("from auto|darknet|voc|coco", "The format of SOURCE.", "form", default="auto"),
    flag("names FILE", "Class names, one per line. Default: those of the .data file, of COCO's "
         "categories by id, or of VOC's XML files in alphabetical order."),
    flag("pictures DIR", "The folder with the pictures of VOC or COCO."),
    flag("copy", "Copy the pictures instead of linking or referring to them."),
    flag("keep_difficult", "With --to darknet: keep difficult and crowd objects as ordinary "
         "ones."),
    ),
])  # fmt: skip
cfg = FlagsFirst("cfg", help="Check and change network files.", commands=[
    command("check", "network_files.run_cfg_check", """
    Print all faults of network files, each with its line.

    With an error, the network does not work as its file says. A warning is for what darknet accepts but is hardly
    intended. The exit code is 1 if there are errors.

    $ pydarknet cfg check my.cfg
    $ pydarknet cfg check my.cfg --data obj.data
    """,
    click.argument("cfgs", metavar="CFG...", type=FILE, nargs=-1, required=True),
    flag("data FILE.data", "Also check that the number of classes is that of this .data file."),
    flag("strict", "Treat warnings as errors."), "dialect",
    ),
    command("set", "network_files.run_set", """
    Write a changed copy of a network file, with the filters and masks that follow from its classes and anchors.

    Comments and layout are kept. NEW.cfg may be CFG itself. It is written only if the changed network is valid.

    $ pydarknet cfg set yolov4-tiny.cfg mine.cfg --classes 3
    $ pydarknet cfg set yolov4-tiny.cfg mine.cfg --classes 3 --net max_batches=6000 --net steps=4800,5400
    """,
    "cfg",
    click.argument("out", metavar="NEW.cfg", type=FILE, required=False),
    flag("classes N", "The number of classes: of all heads, or of a classifier."),
    flag("anchors LIST", "Anchors for all heads, distributed by area: 10,13, 16,30, ..."),
    flag("net KEY=VALUE", "Set an option of [net]; may be given several times.", "net",
         multiple=True),
    flag("out FILE", "The same as NEW.cfg.", "out_option"), "dialect",
    ),
])  # fmt: skip
COMMANDS = {each.name: each for each in (
    command("download", "machine.run_download", """
    Download published weights of darknet by name, or the first layers (`.conv.N`) to train from.

    All commands, and `pydarknet.load`, then find them by that name. An interrupted download is continued. A file whose
    size or checksum is wrong is rejected. Needs pooch: pip install 'pydarknet[zoo]'

    $ pydarknet download --list
    $ pydarknet download yolov4-tiny
    $ pydarknet detect yolov4-tiny.cfg yolov4-tiny.weights dog.jpg
    $ pydarknet download yolov4-tiny.conv.29 --to backbones
    """,
    click.argument("names", metavar="[NAME]...", nargs=-1),
    flag("list", "Print the weights that can be downloaded.", "show_list"),
    flag("to DIR", "The folder. Default: $PYDARKNET_MODELS, else ~/.cache/pydarknet/models, "
         "where all commands look for weights."),
    flag("url URL", "Download from this address, such as a mirror's; the size and checksum of "
         "the published file apply."),
    ),
    dataset, cfg,
    command("anchors", "files.run_anchors", """
    Find anchors for the boxes of a data set by k-means.

    DATA_OR_LIST is a .data file, whose list `train` is used, a list of pictures, a folder of pictures with label files,
    or a data.yaml.

    $ pydarknet anchors obj.data -n 9 --width 416 --height 416
    $ pydarknet anchors obj.data --cfg yolov4-tiny.cfg --write mine.cfg
    $ pydarknet anchors train.txt --table --width 416 --height 416 --anchors "10,13, 16,30, 33,23"
    """,
    click.argument("data", metavar="DATA_OR_LIST", type=FILE),
    click.option("-n", "-num_of_clusters", "--num-of-clusters", "count", type=POSITIVE, metavar="N",
                 help="The number of anchors. Default: as many as the cfg has, else 9."),
    "clustering",
    flag("distance iou|sse", "The distance of k-means: 1 - IoU, as in YOLOv2, or the squared "
         "difference of sizes.", default="iou"),
    flag("anchors LIST", "Anchors to compare with: 10,13, 16,30, ...", "given"),
    flag("table", "Print the table of the YOLOv2 paper for this data set instead."),
    flag("cfg CFG", "Print the options to change in this network file, and the average IoU of "
         "its anchors."),
    flag("write NEW.cfg", "Write a copy of the cfg with these anchors."),
    flag("plot FILE.png", "Draw boxes and anchors (extra `plot`)."), "dialect",
    ),
    # Weights files
    command("partial", "weights.run_change", """
    Write the first N layers of a weights file, to start the training of another network.

    Sets the number of images seen to 0. --allow-partial accepts a file that is itself partial.

    $ pydarknet partial cfg/yolov4-tiny.cfg yolov4-tiny.weights yolov4-tiny.conv.29 29
    """,
    IN_AND_OUT,
    click.argument("layers", metavar="N", type=COUNT), "network", change="partial",
    ),
    command("average", "weights.run_change", """
    Write the mean of several weights files of one network.

    As in darknet, all arrays of convolutions are averaged, and biases and weights of [connected]; all other arrays and
    the number of images seen are those of the first file.

    $ pydarknet average cfg/tiny.cfg mean.weights tiny_1.weights tiny_2.weights tiny_3.weights
    """,
    "cfg", click.argument("out", metavar="OUT", type=FILE),
    click.argument("weights", metavar="WEIGHTS...", nargs=-1, required=True, type=FILE), "network", change="average",
    ),
    *(
        command(name, "weights.run_change", f"{text}\n\n$ pydarknet {name} net.cfg {files}", IN_AND_OUT, "network",
                change=name)
        for name, files, text in (
            ("rescale", "old.weights new.weights",
             "Convert a network for pixels in -1..1 to pixels in 0..1, by changing its first convolution."),
            ("rgbgr", "bgr.weights rgb.weights", "Swap red and blue in the filters of the first convolution."),
            ("reset", "net.weights reset.weights",
             "Fold batch normalisation into weights and biases, and reset it: scales 1, means 0, variances 1."),
        )
    ),
    command("normalize", "weights.run_change", """
    Add batch normalisation to every convolution and [connected] layer that has none.

    The new weights need a cfg with batch_normalize=1 in these layers.

    $ pydarknet normalize plain.cfg plain.weights normal.weights --variance 1 --write-cfg normal.cfg
    """,
    IN_AND_OUT,
    flag("variance V", "The variance of the new layers. 0, as in darknet, for networks that "
         "are trained further; 1 keeps the network's outputs.", type=FiniteFloat(min=0),
         default=0.0),
    WRITE_CFG, "network", change="normalize",
    ),
    command("denormalize", "weights.run_change", """
    Fold batch normalisation into weights and biases, and remove it.

    The new weights need a cfg with batch_normalize=0. Of the recurrent layers, only [gru] is changed, as in darknet.

    $ pydarknet denormalize net.cfg net.weights plain.weights --write-cfg plain.cfg
    """,
    IN_AND_OUT, WRITE_CFG, "network", change="denormalize",
    ),
    command("oneoff", "weights.run_change", """
    Convert a layer of N classes to one of three anchors with N classes each, as was done for YOLO9000.

    The last layer but one has N filters in the weights file and 3 x (5 + N) in the cfg. Its filters become the class
    filters of all three anchors. Prints the number of filters; sets the number of images seen to 0.

    $ pydarknet oneoff boxes.cfg classes.weights boxes.weights --classes 9372
    """,
    IN_AND_OUT,
    flag("classes N", "The number of classes. Default: 11921, as in pjreddie's darknet; 9372, "
         "as in AlexeyAB's."),
    "network", change="oneoff",
    ),
    command("statistics", "weights.run_statistics", """
    Print mean square, mean and variance of the scales, biases and first weights of [connected] and recurrent layers.

    $ pydarknet statistics rnn.cfg rnn.weights
    """,
    "cfg weights network",
    ),
    command("print", "weights.run_print", """
    Print the weights of a convolution without batch normalisation, one line per filter.

    $ pydarknet print cfg/tiny.cfg tiny.weights 0
    """,
    "cfg weights",
    click.argument("layer", metavar="LAYER", type=COUNT), "network",
    ),
    # Pictures of networks
    command("visualize", "pictures.run_visualize", """
    Write the filters of each convolution as a picture: `Layer 0.png` and so on.

    Filters of three channels are drawn in colour; the channels of others side by side in grey.

    $ pydarknet visualize cfg/darknet19.cfg darknet19.weights --out-dir filters --columns 8 --zoom 8
    """,
    "cfg weights",
    FOLDER,
    flag("columns N", "Filters per row.", default=1),
    flag("zoom N", "Pixels per weight.", type=click.IntRange(1, 64), default=1), "network",
    ),
    command("mkimg", "pictures.run_mkimg", """
    Write NUM pictures of H x W pixels, gen_0.jpg and so on, with the filters of the first layer scattered on grey.

    $ pydarknet mkimg cfg/darknet19.cfg darknet19.weights 240 320 10 generated --seed 1
    """,
    "cfg weights",
    click.argument("height", metavar="H", type=click.IntRange(1, 1 << 14)),
    click.argument("width", metavar="W", type=click.IntRange(1, 1 << 14)),
    click.argument("number", metavar="NUM", type=POSITIVE),
    click.argument("folder", metavar="DIR", type=FILE), SEED, "network",
    ),
    command("imtest", "pictures.run_imtest", """
    Write the result of each picture operation on IMAGE as a PNG file; print the norm of IMAGE's values.

    Original, Gray and C1 to C4 are darknet's; aug and rand are random augmentations of training.

    $ pydarknet imtest dog.jpg --out-dir operations
    """,
    click.argument("image", type=FILE),
    FOLDER, SEED,
    ),
    command("nightmare", "pictures.run_nightmare", """
    Change a picture to amplify the output of LAYER. Writes IMAGE_CFG_LAYER_000000.jpg and so on.

    Prints the number and the name of each picture.

    $ pydarknet nightmare cfg/jnet-conv.cfg jnet-conv.weights dog.jpg 11 -rounds 4 -iters 20 -range 3 -zoom .99
    """,
    "cfg weights",
    click.argument("image", type=FILE),
    click.argument("layer", metavar="LAYER", type=COUNT),
    flag("rounds N", "Pictures to write.", default=1),
    flag("iters N", "Steps per picture.", default=10),
    flag("range N", "Each step takes a random one of the N layers around LAYER.", "layers",
         default=1),
    flag("octaves N", "Each step scales the picture to a random one of N sizes, each 3/4 of "
         "the one before.", type=click.IntRange(1, 20), default=4),
    flag("rate R", "The step size.", type=FiniteFloat(), default=0.04),
    flag("thresh T", "Amplify outputs above the mean plus T standard deviations.",
         type=FiniteFloat(), default=1.0),
    flag("norm 0|1", "1: normalise each step to mean 0 and variance 1.",
         type=click.IntRange(0, 1), default=1),
    flag("zoom Z", "After each picture, crop it to its middle, a fraction Z of each side.",
         type=FiniteFloat(0, 1, min_open=True), default=1.0),
    flag("rotate RADIANS", "After each picture, rotate it.", type=FiniteFloat(), default=0.0),
    flag("prefix DIR", "The folder for the pictures. Default: the current one."),
    flag("reconstruct", hidden=True, **when_given(_refuse)),
    flag("longest N", "First resize the picture so that its longer side has N pixels."),
    SEED, "size network",
    ),
    # This program
    command("doctor", "machine.run_doctor", """
    Print processor, versions, kernel cache, OpenCV's decoders, and problems.

    The output is meant for bug reports. The exit code is 1 if there are problems.

    $ pydarknet doctor
    $ pydarknet doctor --json
    """,
    "object",
    ),
    command("warm-up", "machine.run_warm_up", """
    Compile and store the kernels of networks, so that later runs start at once.

    Runs each network once with random weights. Without CFG, runs bundled networks that have all common layers. Meant
    for container images and continuous integration.

    $ pydarknet warm-up
    $ pydarknet warm-up yolov4.cfg mine.cfg --train
    """,
    click.argument("cfgs", metavar="[CFG]...", type=FILE, nargs=-1),
    flag("train", "Also run a training step, to compile the kernels of training."),
    ),
    command("help", "machine.run_help", """
    Print the help on a command; without one, the list of commands.

    $ pydarknet help detect
    $ pydarknet help detector demo
    """,
    click.argument("words", metavar="[COMMAND]...", nargs=-1),
    ),
    command("version", "machine.run_version", """
    Print the version, as --version does.

    $ pydarknet version
    """,
    ),
    command("completion", "machine.run_completion", """
    Print a script that lets a shell complete commands, options and files.

    $ pydarknet completion bash >> ~/.bashrc
    $ pydarknet completion zsh >> ~/.zshrc
    $ pydarknet completion fish > ~/.config/fish/completions/pydarknet.fish
    """,
    click.argument("shell", type=click.Choice(["bash", "zsh", "fish"])),
    ),
)}  # fmt: skip
