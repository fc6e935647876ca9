"""Levels of every depth: what a file says is white is 255, and what it doesn't say is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from spikeclip.data import load_images
from spikeclip.errors import RefusedInput

RNG = np.random.default_rng(0)
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's number for so many channels."""


def png16(levels, turned=None):
    """A PNG of 16 bits: levels [H, W, channels], written by PNG's own definition, without Pillow."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    exif = b"" if turned is None else chunk(b"eXIf", turned.tobytes().removeprefix(b"Exif\0\0"))
    chunks = chunk(b"IHDR", header) + exif + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def exact(levels, white=65535):
    """`round(255 v / white)` in exact integers, halves upwards."""
    return np.vectorize(lambda v: (2 * 255 * int(v) + white) // (2 * white), otypes=[np.uint8])(levels)


def deep(*shape):
    """Random 16-bit levels with both ends, and those around the middle between two levels of 8 bits."""
    levels = RNG.integers(0, 65536, shape).astype(np.uint16)
    levels.flat[:6] = [0, 65535, 128, 129, 65406, 65407]
    return levels


def shown(path, size):
    return load_images(str(path), size).images[0]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_is_scaled_by_its_range(tmp_path, channels):
    levels = deep(9, 9, channels)
    (tmp_path / "a.png").write_bytes(png16(levels))
    colours = exact(levels)[..., [0, 0, 0] if channels < 3 else [0, 1, 2]]  # alpha is left out, as of 8 bits
    np.testing.assert_array_equal(shown(tmp_path / "a.png", 9), colours)


@pytest.mark.parametrize("channels", [1, 3])
def test_deep_png_is_turned_as_the_camera_was_held(tmp_path, channels):
    levels = deep(5, 5, channels)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    (tmp_path / "a.png").write_bytes(png16(levels, exif))
    colours = exact(levels)[..., [0, 0, 0] if channels == 1 else [0, 1, 2]]
    np.testing.assert_array_equal(shown(tmp_path / "a.png", 5), np.rot90(colours, -1))


def test_pixels_of_8_bits_written_with_16_come_back(tmp_path):
    pixels = np.arange(256).reshape(16, 16, 1)
    for factor in (257, 256):  # by range, and by a shift
        (tmp_path / "a.png").write_bytes(png16(pixels * factor))
        difference = shown(tmp_path / "a.png", 16)[..., 0].astype(int) - pixels[..., 0]
        assert np.abs(difference).max() <= (factor != 257)


def tiff(path, levels, bits, photometric=1, order="<", kind=1, planes=1):
    """An uncompressed TIFF of levels [H, W] or, photometric being 2, [H, W, 3], tag by tag."""
    data, channels = levels.tobytes(), 1 if levels.ndim == 2 else levels.shape[2]
    deep = struct.pack(f"{order}{channels}H", *[bits] * channels)
    entries = [
        (256, 4, levels.shape[1]), (257, 4, levels.shape[0]), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, channels), (278, 4, levels.shape[0]), (279, 4, len(data)),
    ]  # fmt: skip
    entries += [(339, 3, kind)] if channels == 1 else [(284, 3, planes)]
    written = b""
    for tag, form, value in entries:
        if tag == 258 and channels > 1:  # too long for its place, so it stands behind the pixels
            written += struct.pack(f"{order}HHII", tag, form, channels, 8 + len(data))
        else:
            written += struct.pack(
                f"{order}HHI" + ("HH" if form == 3 else "I"), tag, form, 1, value, *[0] * (form == 3)
            )
    start = 8 + len(data) + len(deep)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", start)
    path.write_bytes(head + data + deep + struct.pack(f"{order}H", len(entries)) + written + bytes(4))


@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_tiff_of_16_bits_in_both_byte_orders(tmp_path, order):
    levels = deep(7, 7)
    tiff(tmp_path / "a.tif", levels.astype(f"{order}u2"), 16, order=order)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif", 7)[..., 1], exact(levels))


def test_tiff_whose_0_is_white_is_inverted(tmp_path):
    levels = deep(6, 6)
    tiff(tmp_path / "a.tif", levels.astype("<u2"), 16, photometric=0)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif", 6)[..., 2], exact(65535 - levels.astype(int)))


def test_tiff_of_12_bits_has_4095_for_white(tmp_path):
    levels = RNG.integers(0, 4096, (4, 4)).astype(np.uint16)
    levels[0, :2] = 0, 4095
    packed = bytearray()
    for first, second in levels.reshape(-1, 2):
        packed += bytes([int(first) >> 4, (int(first) & 15) << 4 | int(second) >> 8, int(second) & 255])
    tiff(tmp_path / "a.tif", np.frombuffer(bytes(packed), np.uint8).reshape(4, 6), 12)
    path = tmp_path / "a.tif"
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<HHII", 256, 4, 1, 6))
    data[at + 8 : at + 12] = struct.pack("<I", 4)  # four pixels wide, in six bytes
    path.write_bytes(data)
    np.testing.assert_array_equal(shown(path, 4)[..., 0], exact(levels, 4095))


@pytest.mark.parametrize("order", ["<", ">"])
def test_colour_tiff_of_16_bits_is_exact(tmp_path, order):
    levels = deep(5, 5, 3)
    tiff(tmp_path / "a.tif", levels.astype(f"{order}u2"), 16, photometric=2, order=order)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif", 5), exact(levels))


def test_deep_colours_plane_after_plane_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tiff(path, deep(5, 5, 3), 16, photometric=2, planes=2)
    with pytest.raises(RefusedInput, match=r"a\.tif: 16 bits per channel, plane after plane; expected pixel"):
        load_images(str(path), 5)
    tiff(path, deep(5, 5, 3), 16, photometric=2, planes=1)
    assert load_images(str(path), 5).images.any()


@pytest.mark.parametrize("white", [1000, 4095, 65535])
def test_pgm_is_scaled_by_the_range_that_it_states(tmp_path, white):
    levels = RNG.integers(0, white + 1, (6, 6)).astype(">u2")
    levels[0, :2] = 0, white
    (tmp_path / "a.pgm").write_bytes(b"P5 6 6 %d\n" % white + levels.tobytes())
    difference = shown(tmp_path / "a.pgm", 6)[..., 0].astype(int) - exact(levels, white)
    assert np.abs(difference).max() <= (white != 65535)  # Pillow rounds once before
    assert difference[0, :2].tolist() == [0, 0]


def as_float(path):
    Image.fromarray(np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6)).save(path)


def as_int(path):
    Image.fromarray(np.arange(36, dtype=np.int32).reshape(6, 6) * 10_000).save(path)


def as_signed(path):
    tiff(path, np.arange(-18, 18, dtype="<i2").reshape(6, 6), 16, kind=2)


@pytest.mark.parametrize(
    ("write", "words"), [(as_float, "32-bit floats"), (as_int, "32-bit integers"), (as_signed, "32-bit integers")]
)
def test_levels_without_a_known_range_are_refused(tmp_path, write, words):
    write(tmp_path / "a.tif")
    with pytest.raises(RefusedInput, match=rf"a\.tif: its levels are {words}, .*expected 8 or 16 bits"):
        load_images(str(tmp_path), 6)


def test_npz_of_16_bits_is_scaled_and_other_types_are_refused(tmp_path):
    levels = deep(2, 5, 5, 3)
    np.savez(tmp_path / "a.npz", images=levels)
    np.testing.assert_array_equal(load_images(str(tmp_path / "a.npz"), 5).images, exact(levels))
    for kind in (np.float32, np.float64, np.int32, np.uint32, np.int8, bool):
        np.savez(tmp_path / "a.npz", images=(levels > 9).astype(kind))
        with pytest.raises(RefusedInput, match=r"images are \w+ \[2, 5, 5, 3\]; expected uint8"):
            load_images(str(tmp_path / "a.npz"), 5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_images_of_8_bits_are_as_pillow_makes_them_rgb(tmp_path, mode):
    image = Image.fromarray(RNG.integers(0, 256, (7, 7, 3), dtype=np.uint8)).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    image.save(path)
    with Image.open(path) as read:
        expected = np.asarray(read.convert("RGB"))
    np.testing.assert_array_equal(shown(path, 7), expected)
