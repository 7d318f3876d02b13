"""libtorrent as a client: `python scripts/bench/libtorrent_client.py TORRENT FOLDER [PEER...]`.

Downloads from the peers; without peers it verifies what is in the folder. Prints a line when that is done, and ends.
Its settings are libtorrent's own, without encryption, uTP and everything that would leave the machine.
"""

import os
import sys

import libtorrent

torrent, folder, *peers = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False, "in_enc_policy": 2, "out_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": libtorrent.alert.category_t.status_notification | libtorrent.alert.category_t.error_notification,
})  # fmt: skip
added = libtorrent.add_torrent_params()
added.ti = libtorrent.torrent_info(torrent)
added.save_path = folder
handle = session.add_torrent(added)
handle.replace_trackers([])
for peer in peers:
    host, _, port = peer.rpartition(":")
    handle.connect_peer((host, int(port)))
wanted = libtorrent.torrent_finished_alert if peers else libtorrent.torrent_checked_alert
while True:
    session.wait_for_alert(1000)
    for alert in session.pop_alerts():
        if isinstance(alert, wanted):
            print("done", flush=True)
            del alert, handle, session
            sys.exit()
        if isinstance(alert, libtorrent.file_error_alert):
            os.write(2, f"{alert.message()}\n".encode())
            os._exit(1)
