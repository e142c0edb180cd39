"""The shared cases: pictures on which programs like this one have failed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from gpen_core.errors import InputError
from gpen_core.images.formats import READABLE
from gpen_core.images.read import read_picture
from gpen_core.images.write import check_size, write_picture

# What the log has to say of those that are not quite right.
SAID = {"exif_corrupt1.png": "EXIF data is damaged", "trunc_tail.jpg": "lacks its end"}
DEEP = {"m_RGB16.tif", "m_L16_whiteiszero.tif"}


def cases(shared):
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("the shared cases are not beside this checkout")
    files = [*folder.iterdir(), *(folder / "pictures").iterdir()]
    return {path.name: path for path in files if path.suffix in READABLE}


def tags_of(path) -> dict:
    """Tags of EXIF and GPS, but orientation and pixel dimensions, which change."""
    with Image.open(path) as image:
        exif = image.getexif()
        found = {tag: value for tag, value in exif.items() if tag not in (274, 34665, 34853)}
        for folder in (34665, 34853):
            found |= {(folder, tag): value for tag, value in exif.get_ifd(folder).items()}
    return {
        tag: value for tag, value in found.items() if tag not in ((34665, 40962), (34665, 40963))
    }


def test_every_case_comes_in_upright_and_out_again(shared, tmp_path, caplog):
    files = cases(shared)
    assert len(files) >= 22
    for name, path in files.items():
        if name == "eps_named.jpg":
            continue
        caplog.clear()
        picture = read_picture(path)
        assert SAID.get(name, "") in caplog.text
        assert name in SAID or caplog.text == "", name
        assert picture.bits == (16 if name in DEEP else 8), name
        if name not in DEEP | set(SAID):
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
            read = (picture.pixels.permute(1, 2, 0).numpy() * 255).round()
            assert np.array_equal(read, np.asarray(upright)), name
        for suffix in {path.suffix, ".png", ".tif"}:
            target = tmp_path / f"{name}{suffix}"
            write_picture(target, picture)
            again = read_picture(target)
            assert (again.size, again.bits, again.gray) == (
                picture.size,
                picture.bits,
                picture.gray,
            )
            assert (again.icc, again.xmp) == (picture.icc, picture.xmp), name
            if suffix in (".png", ".tif"):
                assert np.array_equal(again.pixels.numpy(), picture.pixels.numpy()), name


def test_metadata_of_the_cases_is_kept(shared, tmp_path):
    files = cases(shared)
    for name, path in files.items():
        if not name.startswith(("exif_full", "exif_icc", "longexif")):
            continue
        before = tags_of(path)
        for suffix in (".png", ".tif", ".webp", path.suffix):
            target = tmp_path / f"{name}{suffix}"
            write_picture(target, read_picture(path), overwrite=True)
            assert before.items() <= tags_of(target).items()
    write_picture(tmp_path / "out.png", read_picture(files["comfy_meta.png"]))
    with Image.open(files["comfy_meta.png"]) as before, Image.open(tmp_path / "out.png") as after:
        for key in ("prompt", "workflow", "xmp", "dpi"):
            assert after.info.get(key) == before.info.get(key)
    write_picture(tmp_path / "out.tif", read_picture(files["dpi.tif"]))
    with Image.open(tmp_path / "out.tif") as after:
        assert after.info["dpi"] == (300, 300)


def test_postscript_and_what_webp_cannot_hold_are_refused(shared):
    files = cases(shared)
    with pytest.raises(InputError, match="not a picture this program"):
        read_picture(files["eps_named.jpg"])
    height, width = read_picture(files["wide.webp"]).size
    with pytest.raises(InputError, match="at most 16383 px"):
        check_size("out.webp", 4 * height, 4 * width)


def test_masks_are_read_by_luma_and_by_alpha_where_the_color_is_flat(shared):
    from gpen_core.batch.companions import read_mask

    files = cases(shared)
    green, alpha = (read_mask(files[name]) for name in ("mask_green.png", "mask_alpha.png"))
    assert green.shape == alpha.shape == (1, 1, 300, 240)
    assert float(green.min()) == float(green.max()) == pytest.approx(0.587, abs=1e-6)
    with Image.open(files["mask_alpha.png"]) as image:
        meant = np.asarray(image.getchannel("A")) / 255
    assert np.allclose(alpha[0, 0].numpy(), meant, atol=1e-6)


@pytest.mark.parametrize("name", ["orient6.tif", "exif6.tif"])
def test_a_turned_tiff_comes_out_upright_and_says_so(shared, tmp_path, name):
    path = cases(shared)[name]
    with Image.open(path) as image:
        stored = image.tag_v2.get(256), image.tag_v2.get(257)
        assert image.getexif()[274] == 6
    write_picture(tmp_path / "out.tif", read_picture(path))
    with Image.open(tmp_path / "out.tif") as image:
        assert image.getexif().get(274, 1) == 1
        assert image.size == stored[::-1]


def test_the_face_of_a_faded_print_is_found(shared):
    from gpen_core.arrays import detect_faces

    picture = read_picture(cases(shared)["faded35_reed.png"])
    faces = detect_faces(picture.pixels.permute(1, 2, 0)[None])
    assert len(faces) == 1 and float(faces.scores[0]) > 0.95
