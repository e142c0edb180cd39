"""TIFF directories by their bytes: what is read, what is written, and what is refused."""

from __future__ import annotations

import struct

import pytest

from gpen_core.images.ifd import (
    ASCII,
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    DamagedDirectory,
    Directory,
    Entry,
    count_chain,
    header,
    read_child,
    read_directory,
    read_header,
    write_directory,
)

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
LONG8 = 16


def entry(order: str, tag: int, kind: int, count: int, field: bytes) -> bytes:
    return struct.pack(order + "HHL", tag, kind, count) + field


def table(order: str, *entries: bytes, following: int = 0) -> bytes:
    """A directory as it lies in a classic TIFF."""
    count = struct.pack(order + "H", len(entries))
    return count + b"".join(entries) + struct.pack(order + "L", following)


@ORDERS
def test_a_header_says_where_the_first_directory_begins(order) -> None:
    name = {"<": b"II", ">": b"MM"}[order]
    classic = name + struct.pack(order + "HL", 42, 0x80000008)
    assert read_header(classic) == (order, False, 0x80000008)
    assert header(order, 0x80000008) == classic
    big = name + struct.pack(order + "HHHQ", 43, 8, 0, 0x8000000000000010)
    assert read_header(big) == (order, True, 0x8000000000000010)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0\x08\0\0",  # a byte short
        b"IM*\0\x08\0\0\0",
        b"II\x29\0\x08\0\0\0",
        b"II+\0\x08\0\0\0",  # the header of a BigTIFF has 16 bytes
        b"II+\0\x08\0\0\0" + bytes(7),
        b"II+\0\x04\0\0\0" + bytes(8),  # offsets of 4 bytes in a BigTIFF
        b"II+\0\x08\0\1\0" + bytes(8),
        b"II\0*" + bytes(20),
        b"II\x2c\0\x08\0\0\0" + bytes(8),
    ],
)
def test_other_headers_are_refused(data) -> None:
    with pytest.raises(DamagedDirectory, match=r"^no TIFF header$"):
        read_header(data)


@ORDERS
def test_every_type_keeps_its_values(order) -> None:
    directory = Directory(order)
    given = {
        1: (BYTE, (1, 255)),
        2: (SHORT, (1, 65535, 7)),
        3: (LONG, (1, 0xFFFFFFFF)),
        6: (LONG8, (1 << 40, 5)),
    }
    for tag, (kind, values) in given.items():
        directory.put(tag, kind, values)
        assert directory.values(tag) == directory.numbers(tag) == values
        assert directory.number(tag) == values[0]
        assert directory.entries[tag].count == len(values)
    directory.put(4, RATIONAL, (300, 2, 5, 0, 0xFFFFFFFF, 1))
    assert directory.values(4) == (150.0, 0.0, 4294967295.0)
    assert directory.numbers(4) == (150, 0, 4294967295)
    assert directory.entries[4].count == 3
    directory.put(5, ASCII, b"text\0")
    assert directory.values(5) == (b"text\0",)
    assert (directory.number(5, 9), directory.numbers(5), directory.entries[5].count) == (9, (), 5)
    assert (directory.number(99), directory.number(99, 3), directory.values(99)) == (0, 3, ())
    signed = Entry(10, 1, struct.pack(order + "ll", -1, 4))
    directory.entries[7] = signed
    assert directory.values(7) == (-0.25,)
    for kind, letter, value in ((6, "b", -5), (8, "h", -300), (9, "l", -70000), (17, "q", -1)):
        directory.entries[8] = Entry(kind, 1, struct.pack(order + letter, value))
        assert directory.values(8) == (value,)
    for kind, letter in ((11, "f"), (12, "d")):
        directory.entries[8] = Entry(kind, 2, struct.pack(order + 2 * letter, 0.5, -2))
        assert directory.values(8) == (0.5, -2.0)


@ORDERS
def test_what_is_written_is_read_again(order) -> None:
    """Short values lie in their entry, longer ones behind the table at even places."""
    directory = Directory(order)
    directory.put(300, SHORT, (1, 2))
    directory.put(256, ASCII, b"odd!\0")
    directory.put(282, RATIONAL, (72, 1))
    child, inner = Directory(order), Directory(order)
    child.put(36867, ASCII, b"1999:12:31 23:59:59\0")
    inner.put(1, LONG, (7,))
    child.children[40965] = inner
    directory.children[34665] = child
    directory.put(40000, UNDEFINED, b"behind the child")
    data = header(order, 10) + b"\0\0" + write_directory(directory, 10)
    read = read_directory(data, 10, order)
    tags = [struct.unpack(order + "H", data[12 + 12 * i : 14 + 12 * i])[0] for i in range(5)]
    assert tags == [256, 282, 300, 34665, 40000], "a directory is sorted by its tags"
    assert (read.lost, read.following) == (0, 0)
    assert read.values(40000) == (b"behind the child",)
    assert read.entries[34665].kind == LONG
    assert read.number(34665) % 2 == 0
    assert read_child(data, read, 34665) is read.children[34665]
    assert 34665 not in read.entries
    assert read_child(data, read, 34665) is None
    assert read_child(data, read.children[34665], 40965).values(1) == (7,)
    assert read.children[34665].entries == child.entries
    assert {**read.entries} == directory.entries


def test_an_entry_needs_its_bytes_inside_the_file() -> None:
    """Those that lead out are counted, whatever else lies in the directory."""
    order, start = "<", 8
    kept = [
        entry(order, 1, SHORT, 2, struct.pack("<HH", 3, 4)),
        entry(order, 2, BYTE, 5, struct.pack("<L", 0)),
    ]
    size = start + 2 + 12 * 7 + 4
    lost = [
        entry(order, 3, BYTE, 5, struct.pack("<L", size - 4)),  # one byte beyond the end
        entry(order, 4, SHORT, 0, bytes(4)),
        entry(order, 5, 14, 1, bytes(4)),  # no such type
        entry(order, 6, LONG, 0xFFFFFFFF, struct.pack("<L", 8)),
    ]
    last = entry(order, 7, BYTE, 5, struct.pack("<L", size - 5))
    data = header(order, start) + table(order, *kept, *lost, last, following=77)
    assert len(data) == size
    directory = read_directory(data, start, order)
    assert sorted(directory.entries) == [1, 2, 7]
    assert (directory.lost, directory.following) == (4, 77)
    assert directory.values(1) == (3, 4)
    assert directory.entries[2].data == b"II*\0\x08"
    assert directory.entries[7].data == data[-5:]
    # Without the pointer to the next one the file still has its directory.
    assert read_directory(data[:-4], start, order).following == 0
    for cut in (5, start + 2 + 12 * 7 - 1):
        with pytest.raises(DamagedDirectory):
            read_directory(data[:cut], start, order)


def test_directories_outside_of_the_file_are_refused() -> None:
    data = header("<", 8) + table("<")
    assert read_directory(data, 8, "<").entries == {}
    assert read_directory(data + b"\0\0", len(data), "<").entries == {}
    for offset in (0, -1, len(data) - 1, len(data), 1 << 40):
        with pytest.raises(DamagedDirectory, match=r"^a directory lies outside the file$"):
            read_directory(data, offset, "<")
    with pytest.raises(DamagedDirectory, match=r"^a directory is cut off$"):
        read_directory(header("<", 8) + b"\1\0" + bytes(11), 8, "<")


def test_entries_that_share_bytes_may_not_ask_for_more_than_there_are() -> None:
    whole = 8 + 2 + 12 * 2 + 4
    first, rest = entry("<", 1, BYTE, whole - 4, bytes(4)), struct.pack("<L", 4)
    fits = entry("<", 2, BYTE, 4, rest)
    assert len(read_directory(header("<", 8) + table("<", first, fits), 8, "<").entries) == 2
    beyond = entry("<", 2, BYTE, 5, rest)
    with pytest.raises(DamagedDirectory, match=r"^a directory claims more than the file holds$"):
        read_directory(header("<", 8) + table("<", first, beyond), 8, "<")


@ORDERS
def test_a_bigtiff_has_wider_fields(order) -> None:
    values = struct.pack(order + "QQ", 1 << 33, 5)
    entries = [
        struct.pack(order + "HHQQ", 1, LONG8, 1, 1 << 33),
        struct.pack(order + "HHQ", 2, SHORT, 4) + struct.pack(order + "4H", 1, 2, 3, 4),
        struct.pack(order + "HHQQ", 3, LONG8, 2, 16),
    ]
    body = struct.pack(order + "Q", 3) + b"".join(entries) + struct.pack(order + "Q", 99)
    data = bytes(16) + values + body
    directory = read_directory(data, 32, order, big=True)
    assert [directory.values(tag) for tag in (1, 2, 3)] == [(1 << 33,), (1, 2, 3, 4), (1 << 33, 5)]
    assert directory.following == 99
    narrow = Directory(order, {2: directory.entries[2]})
    narrow.put(4, LONG8, (5, 0xFFFFFFFF))
    narrow.entries[5] = Entry(18, 1, struct.pack(order + "Q", 12))
    written = read_directory(bytes(8) + write_directory(narrow, 8), 8, order)
    assert written.values(2) == (1, 2, 3, 4)
    assert (written.entries[4].kind, written.values(4)) == (LONG, (5, 0xFFFFFFFF))
    assert (written.entries[5].kind, written.values(5)) == (LONG, (12,))
    with pytest.raises(DamagedDirectory, match=r"^more than 4 GiB$"):
        write_directory(directory, 8)


def test_nothing_is_written_beyond_four_gibibytes() -> None:
    directory = Directory("<")
    directory.put(256, ASCII, b"12345678")
    size = len(write_directory(directory, 0))
    write_directory(directory, 0x100000000 - size - 1)
    with pytest.raises(DamagedDirectory, match=r"^more than 4 GiB$"):
        write_directory(directory, 0x100000000 - size + 1)


def test_a_chain_ends_at_damage_and_where_it_bites_its_tail() -> None:
    step = len(table("<"))
    places = [8 + step * index for index in range(4)]

    def chain(*links: int) -> int:
        data = header("<", 8) + b"".join(table("<", following=link) for link in links)
        return count_chain(data, read_directory(data, 8, "<"))

    assert chain(0) == 1
    assert chain(places[1], places[2], places[3], 0) == 4
    assert chain(places[1], 5000) == 2
    assert chain(places[1], places[1]) == 2
    assert chain(places[1], places[2], places[1]) == 3
    # In a BigTIFF a directory without entries is 16 bytes long.
    wide = b"".join(struct.pack("<QQ", 0, link) for link in (32, 48, 0))
    data = bytes(16) + wide
    assert count_chain(data, read_directory(data, 16, "<", True), True) == 3


def test_an_entry_of_no_directory() -> None:
    """A pointer into nowhere is taken out of its parent before it is followed."""
    directory = Directory("<")
    directory.put(34665, LONG, (5000,))
    with pytest.raises(DamagedDirectory, match="outside"):
        read_child(header("<", 8) + table("<"), directory, 34665)
    assert directory.entries == {} and directory.children == {}
