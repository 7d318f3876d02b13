"""The command line apart from downloading: verify, create, and its error messages."""

from __future__ import annotations

import pytest
from torrents import KIB, MIB, info_hash_of, make_torrent, piece_length_of, write_file


@pytest.fixture
def torrent(source):
    for index, size in enumerate([70_001, 0, 16 * KIB, 1, 300_000]):
        write_file(source / "album" / f"{index}.bin", size, index)
    return make_torrent(source / "album", 32 * KIB)


def test_verify_is_content_with_good_data(piecewise, torrent):
    program = piecewise("verify", torrent.file, torrent.content)

    assert program.exit_code() == 0, program.errors


@pytest.mark.parametrize("damage", ["changed", "short", "missing"])
def test_verify_finds_bad_data_and_leaves_it_as_it_is(piecewise, torrent, damage):
    file = torrent.content / "4.bin"
    content = bytearray(file.read_bytes())
    if damage == "changed":
        content[150_000] ^= 1
        file.write_bytes(content)
    elif damage == "short":
        file.write_bytes(content[:-1])
    else:
        file.unlink()
    before = {path: path.read_bytes() for path in torrent.content.iterdir()}

    program = piecewise("verify", torrent.file, torrent.content)

    assert program.exit_code() == 1
    assert {path: path.read_bytes() for path in torrent.content.iterdir()} == before


@pytest.mark.parametrize("piece_length", [16 * KIB, 256 * KIB])
def test_create_gives_the_info_hash_that_libtorrent_gives_to_a_folder(piecewise, torrent, tmp_path, piece_length):
    ours = tmp_path / "ours.torrent"

    program = piecewise("create", torrent.content, "--piece-length", str(piece_length), "-o", ours)

    assert program.exit_code() == 0, program.errors
    assert info_hash_of(ours) == make_torrent(torrent.content, piece_length).info_hash


def test_create_gives_the_info_hash_that_libtorrent_gives_to_a_file(piecewise, source, tmp_path):
    content = write_file(source / "ein Film – 映画.bin", MIB + 1, 1)
    ours = tmp_path / "ours.torrent"

    program = piecewise("create", content, "--piece-length", str(64 * KIB), "-o", ours)

    assert program.exit_code() == 0, program.errors
    assert info_hash_of(ours) == make_torrent(content, 64 * KIB).info_hash


def test_what_create_makes_is_seeded_by_libtorrent_and_verified_by_us(piecewise, seed, source, tmp_path, target):
    content = write_file(source / "one.bin", MIB + 1, 2)
    ours = tmp_path / "ours.torrent"
    assert piecewise("create", content, "-o", ours).exit_code() == 0
    seeder = seed(make_torrent(content, piece_length_of(ours)))

    program = piecewise("download", ours, "-o", target, "--peer", seeder.address, "--json")
    program.finish()

    assert (target / "one.bin").read_bytes() == content.read_bytes()
    assert piecewise("verify", ours, target / "one.bin").exit_code() == 0


BAD_TORRENTS = {
    "empty": b"",
    "a web page": b"<!doctype html><title>404</title>",
    "cut off": b"d8:announce3:abc4:infod6:lengthi5e",
    "without an info dictionary": b"d8:announce3:abce",
    "with a digest that is cut off": b"d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces19:"
    + b"x" * 19
    + b"ee",
}


@pytest.mark.parametrize("content", BAD_TORRENTS.values(), ids=BAD_TORRENTS.keys())
def test_a_bad_torrent_file_is_refused_in_one_sentence(piecewise, tmp_path, target, content):
    file = tmp_path / "bad.torrent"
    file.write_bytes(content)

    program = piecewise("download", file, "-o", target, "--json")

    assert "bad.torrent" in program.refused()
    assert not target.exists()


def test_a_torrent_file_that_is_not_there_is_refused_in_one_sentence(piecewise, tmp_path, target):
    program = piecewise("download", tmp_path / "nowhere.torrent", "-o", target, "--json")

    assert "nowhere.torrent" in program.refused()
    assert not target.exists()


@pytest.mark.parametrize("arguments", [["download"], ["download", "--no-such-flag"], ["fetch", "it"]], ids=" ".join)
def test_a_wrong_command_line_gives_2(piecewise, arguments):
    program = piecewise(*arguments)

    assert program.exit_code() == 2
    assert program.errors != ""
