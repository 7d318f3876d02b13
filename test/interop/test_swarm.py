"""Downloads of ours with default options that find each other through a tracker, and share what one seeder sends."""

from __future__ import annotations

from torrents import KIB, MIB, assert_same, make_torrent, write_file

SIZE = 8 * MIB
RATE = MIB
DOWNLOADS = 4


def test_downloads_share_what_a_slow_seeder_sends(source, target, seed, piecewise, tracker):
    torrent = make_torrent(write_file(source / "one.bin", SIZE, 1), 64 * KIB, trackers=[tracker.urls["http"]])
    seeder = seed(torrent, bytes_per_second=RATE, trackers=True)
    tracker.wait_for_seeders(1)
    folders = [target / str(number) for number in range(DOWNLOADS)]

    ours = [piecewise("download", torrent.file, "-o", folder, "--json") for folder in folders]
    for program in ours:
        program.wait_for(lambda event: event["_tag"] == "Completed")

    # Each by itself would need a copy from the seeder, which would take four times as long as one copy. The time itself
    # says little, because a busy machine needs many seconds to start them.
    assert seeder.status()["uploaded"] <= 2 * SIZE
    for folder in folders:
        assert_same(torrent, folder)
