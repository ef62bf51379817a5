"""Pictures: loading, darknet's resizing to the last bit, fitting to a network, drawing, writing."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from pydarknet.boxes import Box, Detection
from pydarknet.errors import ImageError, OptionError, OutputError
from pydarknet.images import image as pictures
from pydarknet.images.image import (
    as_chw,
    centre_crop,
    check_image,
    crop,
    encode_image,
    fit_for_classify,
    fit_for_detect,
    least_size,
    letterbox,
    load_image,
    picture_of_size,
    resize,
    resize_longer,
    resize_shorter,
    show_image,
    size_of_file,
    write_image,
)
from pydarknet.images.operations import class_colour, draw_detections

SHARED = Path(__file__).parents[2].parent / "shared"
F = np.float32


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def noise(channels, height, width, seed=0):
    return np.random.default_rng(seed).random((channels, height, width), dtype=np.float32)


# --- slow reference implementations ---


def naive_resize(chw, width, height):
    """Darknet's two passes, one pixel and one rounding at a time."""
    channels, H, W = chw.shape
    scale_x = F(F(W - 1) / F(width - 1)) if width > 1 else F(0)
    scale_y = F(F(H - 1) / F(height - 1)) if height > 1 else F(0)
    part = np.zeros((channels, H, width), np.float32)
    result = np.zeros((channels, height, width), np.float32)
    for k in range(channels):
        for r in range(H):
            for c in range(width):
                if c == width - 1 or W == 1:
                    part[k, r, c] = chw[k, r, W - 1]
                    continue
                s = F(F(c) * scale_x)
                i = int(s)
                d = F(s - F(i))
                part[k, r, c] = F(F(F(1) - d) * chw[k, r, i]) + F(d * chw[k, r, i + 1])
        for r in range(height):
            s = F(F(r) * scale_y)
            i = int(s)
            d = F(s - F(i))
            for c in range(width):
                value = F(F(F(1) - d) * part[k, i, c])
                if r != height - 1 and H != 1:
                    value = F(value + F(d * part[k, i + 1, c]))
                result[k, r, c] = value
    return result


def naive_crop(chw, dx, dy, width, height):
    channels, H, W = chw.shape
    result = np.zeros((channels, height, width), np.float32)
    for k in range(channels):
        for r in range(height):
            for c in range(width):
                result[k, r, c] = chw[k, min(max(r + dy, 0), H - 1), min(max(c + dx, 0), W - 1)]
    return result


# --- scaled decoding ---

EXIF_TURNED = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


@pytest.fixture
def jpeg(tmp_path):
    """A smooth picture of 333 x 250 pixels that a viewer turns, by its EXIF data."""
    content = encode_image(resize_to(photo(3, 4), 333, 250), ".jpg", 95)
    (tmp_path / "a.jpg").write_bytes(content[:2] + EXIF_TURNED + content[2:])
    return tmp_path / "a.jpg"


def resize_to(image, width, height):
    return (resize(as_chw(image), width, height).transpose(1, 2, 0) * 255).astype(np.uint8)


@pytest.mark.parametrize(("least", "shape"), [
])  # fmt: skip
def test_a_jpeg_file_is_decoded_at_the_smallest_scale_that_is_not_below_the_least_size(jpeg, least, shape):
    picture, size = picture_of_size(jpeg, least=least)
    assert (picture.shape, size) == ((*shape, 3), (333, 250))
    np.testing.assert_array_equal(picture_of_size(jpeg.read_bytes(), least=least)[0], picture)
    whole = resize_to(load_image(jpeg), shape[1], shape[0])
    assert np.abs(picture.astype(int) - whole).mean() < 3  # as it is stored, not turned


def test_without_opencvs_newer_flags_the_pixels_are_the_same(jpeg, monkeypatch):
    expected = [picture_of_size(jpeg, least=least)[0] for least in (None, (80, 60))]
    monkeypatch.setattr(pictures, "_READS_INTO_ARRAY", False)
    monkeypatch.setattr(pictures, "_RGB", 0)
    for least, picture in zip((None, (80, 60)), expected, strict=True):
        np.testing.assert_array_equal(picture_of_size(jpeg, least=least)[0], picture)


def test_a_jpeg_file_whose_name_is_not_text_and_one_that_is_a_pipe(jpeg):
    odd, pipe = jpeg.with_name("a\udcff.jpg"), jpeg.with_name("pipe.jpg")
    jpeg.rename(odd)
    os.mkfifo(pipe)
    with subprocess.Popen(["dd", "status=none", f"if={odd}".encode("utf-8", "surrogateescape"), f"of={pipe}"]):
        np.testing.assert_array_equal(load_image(pipe), load_image(odd))


def test_other_pictures_are_whole(jpeg):
    array, content = load_image(jpeg), encode_image(load_image(jpeg), ".png")
    for image in (array, content):
        picture, size = picture_of_size(image, least=(8, 8))
        assert (picture.shape, size) == ((250, 333, 3), (333, 250))


def test_the_least_size_is_the_networks_for_each_tile():
    assert least_size("whole", (3, 20, 30)) is None
    assert least_size("scaled", (3, 20, 30)) == (30, 20)
    assert least_size("scaled", (3, 20, 30), 2, 3) == (60, 60)
    with pytest.raises(OptionError, match=r"decode 'half': expected whole or scaled"):
        least_size("half", (3, 20, 30))


# --- pixels ---


def test_chw_values_are_those_of_a_division_in_double_precision():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    expected = np.array([value / 255.0 for value in range(256)]).astype(np.float32)
    np.testing.assert_array_equal(as_chw(image).ravel(), expected)


def test_chw_order():
    chw = as_chw(np.array([[[255, 0, 51], [0, 0, 0]]], np.uint8))
    assert chw.shape == (3, 1, 2)
    assert chw.flags.c_contiguous
    np.testing.assert_array_equal(chw[:, 0, 0], F([1, 0, 0.2]))


@pytest.mark.parametrize(("value", "named"), [
    ("dog.jpg", "str"), (np.zeros((4, 4, 3), np.float32), "float32"), (np.zeros((4, 4), np.uint8), r"\(4, 4\)"),
    (np.zeros((3, 4, 4), np.uint8), r"\(3, 4, 4\)"), (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
])  # fmt: skip
def test_what_is_no_picture_is_named(value, named):
    with pytest.raises(OptionError, match=named):
        check_image(value)


def test_a_picture_passes_the_check_as_it_is():
    image = photo(2, 3)
    assert check_image(image) is image


# --- resizing ---

SIZES = [
    ((5, 7), (5, 7)), ((5, 7), (3, 4)), ((5, 7), (11, 13)), ((5, 7), (1, 1)), ((5, 7), (1, 9)),
    ((5, 7), (9, 1)), ((1, 9), (4, 5)), ((9, 1), (4, 5)), ((1, 1), (3, 2)), ((2, 2), (31, 17)),
    ((38, 51), (13, 29)), ((17, 3), (19, 50)),
]  # fmt: skip


@pytest.mark.parametrize(("source", "size"), SIZES)
def test_resize_equals_the_two_loops_to_the_last_bit(source, size):
    chw = noise(2, *source)
    found = resize(chw, size[1], size[0])
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, naive_resize(chw, size[1], size[0]))


def test_last_row_is_dimmed_where_the_product_of_row_and_scale_falls_short():
    """Darknet then leaves out the other neighbour, although its share is not 0: we must, too."""
    short = [(H, h) for H in range(2, 60) for h in range(2, 60) if F(F(h - 1) * F(F(H - 1) / F(h - 1))) < H - 1]
    assert short
    for H, h in short[:: max(1, len(short) // 20)]:
        chw = np.ones((1, H, 1), np.float32)
        found = resize(chw, 1, h)
        np.testing.assert_array_equal(found, naive_resize(chw, 1, h))
        assert found[0, -1, 0] < 1


def test_resize_to_the_same_size_is_a_copy():
    chw = noise(3, 8, 9)
    found = resize(chw, 9, 8)
    np.testing.assert_array_equal(found, chw)
    assert not np.shares_memory(found, chw)


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (-1, 4), (1_000_000, 1_000_000)])
def test_impossible_sizes_are_refused(width, height):
    with pytest.raises(ImageError, match=f"cannot resize a picture of 7x5 to {width}x{height}"):
        resize(noise(3, 5, 7), width, height)


def test_a_sliver_is_refused_before_memory_runs_out():
    with pytest.raises(ImageError, match="1x100000"):
        fit_for_classify(photo(100_000, 1), "crop", 224, 224)


@pytest.mark.parametrize(("source", "size", "shorter", "longer"), [
    ((576, 768), 224, (224, 298), (168, 224)), ((768, 576), 224, (298, 224), (224, 168)),
    ((10, 10), 7, (7, 7), (7, 7)), ((3, 10), 3, (3, 10), (1, 3)), ((40, 3), 3, (40, 3), (3, 1)),
])  # fmt: skip
def test_resize_by_one_side(source, size, shorter, longer):
    chw = noise(1, *source)
    assert resize_shorter(chw, size).shape == (1, *shorter)
    assert resize_longer(chw, size).shape == (1, *longer)
    np.testing.assert_array_equal(resize_shorter(chw, size), resize(chw, *shorter[::-1]))


def test_letterbox_puts_the_picture_in_the_middle_of_grey():
    chw = noise(3, 4, 8)
    found = letterbox(chw, 6, 8)
    inner = resize(chw, 6, 3)
    assert found.shape == (3, 8, 6)
    np.testing.assert_array_equal(found[:, 2:5], inner)
    np.testing.assert_array_equal(found[:, :2], F(0.5))
    np.testing.assert_array_equal(found[:, 5:], F(0.5))
    upright = letterbox(noise(3, 8, 4), 8, 6)
    np.testing.assert_array_equal(upright[:, :, [0, 1, 5, 6, 7]], F(0.5))
    np.testing.assert_array_equal(upright[:, :, 2:5], resize(noise(3, 8, 4), 3, 6))


@pytest.mark.parametrize(
    ("dx", "dy", "width", "height"),
    [(0, 0, 5, 4), (1, 2, 3, 2), (-2, -3, 9, 11), (4, 3, 6, 6), (-9, 20, 2, 3)],
)
def test_crop_repeats_the_edges(dx, dy, width, height):
    chw = noise(2, 4, 5)
    found = crop(chw, dx, dy, width, height)
    np.testing.assert_array_equal(found, naive_crop(chw, dx, dy, width, height))
    assert not np.shares_memory(found, chw)


def test_centre_crop_takes_the_largest_square():
    wide, high = noise(3, 6, 11), noise(3, 12, 5)
    np.testing.assert_array_equal(centre_crop(wide, 4, 3), resize(wide[:, :, 2:8], 4, 3))
    np.testing.assert_array_equal(centre_crop(high, 7, 7), resize(high[:, 3:8], 7, 7))


# --- fitting to a network ---


@pytest.mark.parametrize("shape", [(6, 9), (13, 8), (90, 121), (20, 20), (1, 1)])
def test_fits_are_the_chw_operations(shape):
    image = photo(*shape)
    chw = as_chw(image)
    np.testing.assert_array_equal(fit_for_classify(image, "stretch", 12, 10), resize(chw, 12, 10))
    np.testing.assert_array_equal(fit_for_classify(image, "letterbox", 12, 10), letterbox(chw, 12, 10))
    whole = resize_shorter(chw, 12)
    np.testing.assert_array_equal(fit_for_classify(image, "shorter", 12, 10), whole)
    dx, dy = int((whole.shape[2] - 12) / 2), int((whole.shape[1] - 10) / 2)
    np.testing.assert_array_equal(fit_for_classify(image, "crop", 12, 10), crop(whole, dx, dy, 12, 10))
    np.testing.assert_array_equal(fit_for_detect(image, 12, 10, letterbox=False), resize(chw, 12, 10))
    np.testing.assert_array_equal(fit_for_detect(image, 12, 10, letterbox=True), letterbox(chw, 12, 10))


def test_crop_of_a_network_higher_than_the_picture_rounds_its_offset_towards_zero():
    image = photo(8, 8)
    chw = as_chw(image)  # 8x8 for a network of 8x13: the offset is -5/2, in C -2
    np.testing.assert_array_equal(fit_for_classify(image, "crop", 8, 13), naive_crop(chw, 0, -2, 8, 13))


def test_one_channel_is_weighted_in_integers():
    image = photo(5, 6)
    red, green, blue = (image[..., i].astype(int) for i in range(3))
    grey = ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)[..., None]
    np.testing.assert_array_equal(fit_for_detect(image, 6, 5, letterbox=False, channels=1), as_chw(grey))
    white = np.full((2, 2, 3), 255, np.uint8)
    assert fit_for_classify(white, "stretch", 2, 2, channels=1).min() == 1


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_numbers_of_channels_are_refused(channels):
    with pytest.raises(OptionError, match=f"3 channels or 1, not {channels}"):
        fit_for_classify(photo(4, 4), "stretch", 4, 4, channels)


def test_unknown_fit_is_refused():
    with pytest.raises(OptionError, match=r'"cover".*stretch.*letterbox.*shorter.*crop'):
        fit_for_classify(photo(4, 4), "cover", 4, 4)


GOLDEN_INPUTS = {
    "real_tiny_dog_whole_pj": lambda: fit_for_classify(reference("dog"), "shorter", 224, 224),
    "real_tiny_dog_letterbox_pj": lambda: fit_for_classify(reference("dog"), "letterbox", 224, 224),
    "real_tiny_dog_crop_pj": lambda: centre_crop(as_chw(reference("dog")), 224, 224),
    "real_tiny_giraffe_crop_pj": lambda: centre_crop(as_chw(reference("giraffe")), 224, 224),
    "real_tiny_eagle_whole_pj": lambda: fit_for_classify(reference("eagle"), "shorter", 224, 224),
    "real_yolo_fastest_1.1_dog_ab": lambda: fit_for_detect(reference("dog"), 320, 320, letterbox=False),
    "real_yolo_fastest_1.0_horses_ab": lambda: fit_for_detect(reference("horses"), 320, 320, letterbox=True),
    "real_yolo_fastest_1.1_body_ab": lambda: fit_for_detect(reference("person"), 320, 320, letterbox=False),
}


def reference(name):
    return load_image(SHARED / "reference" / "images" / f"{name}.jpg")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no recorded inputs of the C program at {SHARED}")
@pytest.mark.parametrize("case", GOLDEN_INPUTS)
def test_inputs_equal_those_of_the_c_program(case):
    """But for the JPEG decoder: darknet's own differs from OpenCV's by up to 3 of 255 at single pixels."""
    expected = np.load(SHARED / "golden" / case / "input.npy")[0]
    found = GOLDEN_INPUTS[case]()
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    assert difference.mean() < 0.004
    assert difference.max() < 0.1


# --- files ---


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour_type, rows):
    """A PNG of any depth and colour type, `rows` being the raw bytes of each row."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("name", ["a.png", "b.bmp", "c.ppm", "D.PNG", "e f.tiff", "ünïcödé 犬.png"])
def test_lossless_formats_come_back(tmp_path, name):
    image = photo(11, 7)
    assert write_image(tmp_path / name, image) == tmp_path / name
    np.testing.assert_array_equal(load_image(tmp_path / name), image)
    np.testing.assert_array_equal(load_image(str(tmp_path / name)), image)


@pytest.mark.parametrize("name", ["a.jpg", "b.JPEG"])
def test_jpeg_comes_back_nearly(tmp_path, name):
    smooth = np.linspace(0, 255, 32 * 24 * 3).reshape(32, 24, 3).astype(np.uint8)
    write_image(tmp_path / name, smooth)
    assert (tmp_path / name).read_bytes()[:2] == b"\xff\xd8"
    found = load_image(tmp_path / name)
    assert found.shape == smooth.shape
    assert np.abs(found.astype(int) - smooth).mean() < 3


def test_a_path_without_extension_becomes_a_jpeg(tmp_path):
    assert write_image(tmp_path / "predictions", photo(4, 4)) == tmp_path / "predictions.jpg"
    assert load_image(tmp_path / "predictions.jpg").shape == (4, 4, 3)


def test_grey_alpha_and_deep_pictures_become_eight_bit_rgb(tmp_path):
    cases = {
        "grey": (png(3, 1, 8, 0, [bytes([0, 7, 255])]), [[0] * 3, [7] * 3, [255] * 3]),
        "alpha": (png(2, 1, 8, 6, [bytes([1, 2, 3, 0, 4, 5, 6, 255])]), [[1, 2, 3], [4, 5, 6]]),
        "grey alpha": (png(2, 1, 8, 4, [bytes([9, 0, 8, 255])]), [[9] * 3, [8] * 3]),
        "deep": (
            png(2, 1, 16, 2, [struct.pack(">6H", 0, 255, 256, 65535, 40000, 511)]),
            [[0, 0, 1], [255, 156, 1]],
        ),
        "one bit": (png(2, 1, 1, 0, [b"\x40"]), [[0] * 3, [255] * 3]),
    }
    for name, (content, expected) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        found = load_image(path)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, [expected], err_msg=name)


def test_exif_orientation_is_ignored_as_darknet_does(tmp_path):
    plain = tmp_path / "plain.jpg"
    write_image(plain, photo(8, 16))
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)  # 6: turn by 90 degrees
    segment = b"Exif\0\0" + tiff
    content = plain.read_bytes()
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:])
    np.testing.assert_array_equal(load_image(turned), load_image(plain))


BROKEN = {
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"hello, world\n" * 20, "unknown or damaged format"),
    "half.png": (png(9, 9, 8, 2, [bytes(27)] * 9)[:50], "unknown or damaged format"),
    "header.png": (png(9, 9, 8, 2, [])[:33], "unknown or damaged format"),
    "half.bmp": (b"BM" + bytes(40), "unknown or damaged format"),
    "huge.png": (png(100_000, 100_000, 8, 2, [bytes(9)]), ""),
    "signature.gif": (b"GIF89a", ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_with_a_reason(tmp_path, name):
    content, reason = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_image(path)
    message = str(caught.value)
    assert message.startswith(f'Cannot load image "{path}": {reason}')
    assert "\n" not in message


def test_the_bundled_picture_is_found_by_its_bare_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_image("sample.jpg").shape == load_image("data/sample.jpg").shape == (480, 640, 3)
    assert size_of_file("sample.jpg") == (640, 480)
    write_image("sample.jpg", np.zeros((3, 4, 3), np.uint8))
    assert load_image("sample.jpg").shape == (3, 4, 3)
    for name in ("coco.names", "../data/sample.jpg", "sample"):
        with pytest.raises(ImageError):
            load_image(name)


def test_missing_files_and_directories_are_named(tmp_path):
    with pytest.raises(ImageError, match=r'Cannot load image ".*none\.jpg": No such file or directory'):
        load_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match=r'Cannot load image ".*": Is a directory'):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="null"):
        load_image("dog\0.jpg")


@pytest.mark.slow
def test_a_damaged_file_leaves_nothing_on_stderr(tmp_path):
    path = tmp_path / "damaged.tiff"
    path.write_bytes(b"II*\0\xff\xff\xff\x00" + bytes(100))
    script = (
        "import sys; from pydarknet.images.image import load_image\n"
        "try: load_image(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENCV_LOG_LEVEL"}
    command = [sys.executable, "-c", script, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert (run.stdout, run.stderr) == ("ImageError\n", "")


@pytest.mark.parametrize("name", ["a.xyz", "b.txt", "c.v2"])
def test_unknown_formats_are_not_written(tmp_path, name):
    message = rf"{name}: cannot write a picture: OpenCV has no format with the extension \.\w+$"
    with pytest.raises(OutputError, match=message):
        write_image(tmp_path / name, photo(4, 4))
    assert not list(tmp_path.iterdir())


def test_a_picture_into_nowhere_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="No such file or directory"):
        write_image(tmp_path / "none" / "a.png", photo(4, 4))


# --- drawing ---


def detection(x, y, w, h, name="dog", confidence=0.87, class_id=0):
    return Detection(class_id, name, confidence, Box(x, y, w, h))


@pytest.mark.parametrize("found", [
    detection(50, 40, 30, 20), detection(0, 0, 500, 500), detection(-80, 40, 30, 20),
    detection(130, 100, 60, 60, name="a name much longer than the picture is wide"),
    detection(50, 40, 0, 0), detection(50, 40, -30, -20),
    detection(50, 40, 30, 20, name="perrito piñón 犬 \udcff\n"),
    detection(float("nan"), 40, float("inf"), 20), detection(1e30, -1e30, 1e30, 1e30),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(90, 120), (1, 1), (2, 300), (300, 2)])
def test_drawing_changes_a_copy_only(found, shape):
    image = photo(*shape)
    before = image.copy()
    drawn = draw_detections(image, [found], classes=3)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (drawn != image).any()
    np.testing.assert_array_equal(image, before)


def test_a_box_has_its_class_colour_and_width():
    image = np.zeros((500, 400, 3), np.uint8)
    drawn = draw_detections(image, [detection(200, 300, 100, 80, class_id=1)], classes=2)
    colour = class_colour(1, 2)
    line = 3  # 0.006 of the height
    np.testing.assert_array_equal(drawn[260 : 260 + line, 150:251], np.broadcast_to(colour, (line, 101, 3)))
    np.testing.assert_array_equal(drawn[341 - line : 341, 150:251], np.broadcast_to(colour, (line, 101, 3)))
    np.testing.assert_array_equal(drawn[260:341, 150 : 150 + line], np.broadcast_to(colour, (81, line, 3)))
    np.testing.assert_array_equal(drawn[260:341, 251 - line : 251], np.broadcast_to(colour, (81, line, 3)))
    assert not drawn[260 + line : 341 - line, 150 + line : 251 - line].any()
    assert not drawn[342:].any()
    assert drawn[200:260].any(), "no label above the box"


def test_a_label_stays_in_the_picture():
    image = np.zeros((200, 300, 3), np.uint8)
    for x, y in ((0, 0), (299, 0), (299, 199), (0, 199)):
        drawn = draw_detections(image, [detection(x, y, 4, 4)], classes=1)
        labelled = (drawn == class_colour(0, 1)).all(axis=2).sum()
        assert labelled > 300, (x, y)


def test_the_most_confident_box_is_on_top():
    weak, strong = detection(50, 60, 40, 40, "a", 0.3, 0), detection(50, 60, 40, 40, "a", 0.9, 1)
    image = np.zeros((100, 100, 3), np.uint8)
    for order in ([weak, strong], [strong, weak]):
        drawn = draw_detections(image, order, classes=2)
        np.testing.assert_array_equal(drawn[60, 30], class_colour(1, 2))


def test_drawing_nothing_gives_an_equal_copy():
    image = photo(5, 6)
    drawn = draw_detections(image, [], classes=80)
    np.testing.assert_array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_class_colours_lie_on_the_rainbow():
    assert class_colour(0, 80) == (255, 0, 255)
    # Class 1 of 5 is 123457 mod 5 = 2 steps along: the third of the six colours, and so on.
    assert [class_colour(i, 5) for i in range(5)] == [
        (255, 0, 255),
        (255, 255, 0),
        (0, 255, 255),
        (255, 0, 0),
        (0, 255, 0),
    ]
    assert len({class_colour(i, 80) for i in range(80)}) == 80
    assert class_colour(81, 80) == class_colour(1, 80)


# --- windows ---


def test_showing_without_a_display_or_windows_is_an_option_error(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(pictures.sys, "platform", "linux")
    with pytest.raises(OptionError, match="no display"):
        show_image("dog", photo(4, 4))


def test_showing_with_an_opencv_without_windows(monkeypatch):
    def not_implemented(*_):
        raise pictures.cv2.error("The function is not implemented.\nRebuild the library")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(pictures.cv2, "imshow", not_implemented)
    with pytest.raises(OptionError, match=r"cannot show a picture: The function is not implemented. Rebuild"):
        show_image("dog", photo(4, 4))


def test_showing_hands_the_picture_over_in_the_order_of_opencv(monkeypatch):
    seen = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(pictures.cv2, "imshow", lambda title, bgr: seen.append((title, bgr)))
    monkeypatch.setattr(pictures.cv2, "waitKey", lambda milliseconds: 27 + milliseconds)
    image = photo(4, 4)
    assert show_image("dog", image, 1) == 28
    assert seen[0][0] == "dog"
    np.testing.assert_array_equal(seen[0][1], image[..., ::-1])
