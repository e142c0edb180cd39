"""Folders and lists of paths."""

from __future__ import annotations

import pytest

from gpen_core.archive.listing import list_source
from gpen_core.archive.manifest import arrow
from gpen_core.errors import InputError


def keys(source) -> list[str]:
    return [item.key for item in list_source(str(source)).items]


def test_a_folder_is_searched_to_its_ends(scans):
    (scans / ".cache").mkdir()
    (scans / ".cache" / "a.png").touch()
    (scans / "film.mp4").touch()
    found = list_source(str(scans))
    assert keys(scans) == ["1927/b.jpg", "1927/c.png", "a.png", "d.png", "torn.png"]
    assert found.skipped == {
        "neither a picture nor a film": 1,
        "hidden": 1,
        "a film; films go from folder to folder": 1,
    }
    assert "film.mp4" in [item.key for item in list_source(str(scans), films=True).items]
    assert found.items[2].size == (scans / "a.png").stat().st_size


@pytest.mark.parametrize("kind", ["txt", "csv", "parquet"])
def test_a_list_says_which(scans, kind):
    """Each line alone decides its name; what is missing fails later, by itself."""
    lines = ["a.png", "./1927/b.jpg", str(scans / "d.png"), "s3://plates/1901/x.jpg", "gone.png"]
    lines += ["a.png", "notes.txt"]
    path = scans / f"list.{kind}"
    if kind == "txt":
        path.write_text("\n".join(lines) + "\n\n")
    elif kind == "csv":
        path.write_text("year,path\n" + "".join(f"1927,{line}\n" for line in lines))
    else:
        pa = arrow()
        pa.parquet.write_table(pa.table({"path": lines}), path)
    found = list_source(str(path))
    inside = str(scans / "d.png").lstrip("/")
    assert keys(path) == sorted(["a.png", "1927/b.jpg", inside, "plates/1901/x.jpg", "gone.png"])
    places = {item.key: item.place for item in found.items}
    assert places["plates/1901/x.jpg"] == "s3://plates/1901/x.jpg"
    assert places[inside] == str(scans / "d.png")
    assert found.skipped == {"named twice": 1, "neither a picture nor a film": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "../a.png\n", "leads upward"),
        ("a.txt", "\n", "is empty|no picture"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.csv", "file\na.png\n", "no column 'path'"),
        ("a.parquet", "PAR1", "no Parquet file"),
        ("a.docx", "a.png", "neither a folder nor a list"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        list_source(str(path))


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="The source is empty"):
        list_source(" ")
    with pytest.raises(InputError, match="no such folder or list"):
        list_source(str(tmp_path / "gone"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no picture in it"):
        list_source(str(tmp_path / "empty"))
