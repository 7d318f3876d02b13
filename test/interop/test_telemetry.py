"""What operators see of a program: its OTLP payloads, decoded by OpenTelemetry's own code, and a scrape by Prometheus."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import libtorrent
import pytest
from conftest import leave_out
from processes import DEADLINE, HERE, NODE, LineProcess
from torrents import KIB, MIB, Torrent, make_torrent, write_file

PASSKEY = "9f8e7d6c5b4a"
"""What nobody but the tracker may see."""


class Collector:
    """An OpenTelemetry collector that keeps what it receives, and a tracker that knows one peer."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, bytes]] = []
        """The path, the content type and the body of each export."""
        self.announces = 0
        self.peer = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.received.append((self.path, self.headers["Content-Type"], body))
                self.answer(b"")

            def do_GET(self) -> None:
                assert self.path.startswith(f"/{PASSKEY}/announce?")
                assert "traceparent" not in self.headers
                collector.announces += 1
                self.answer(libtorrent.bencode({b"interval": 1800, b"peers": collector.peer}))

            def answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def knows(self, address: str) -> None:
        host, port = address.split(":")
        self.peer = socket.inet_aton(host) + int(port).to_bytes(2, "big")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)


@pytest.fixture
def collector(running) -> Collector:
    started = Collector()
    running.callback(started.close)
    return started


@pytest.fixture
def observed(running, tmp_path) -> Callable[..., LineProcess]:
    """Starts `observed.ts`."""

    def start(*arguments: object) -> LineProcess:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        command = [str(NODE), str(HERE / "observed.ts"), *map(str, arguments)]
        program = LineProcess(command, {**os.environ, "HOME": str(home)})
        running.callback(program.close)
        return program

    return start


def line_of(program: LineProcess) -> Any:
    line = program.next_line()
    assert line is not None, f"{program.describe()} ended with {program.exit_code()}: {program.errors}"
    return json.loads(line)


def decode(message: Any, content_type: str, body: bytes) -> Any:
    """Decodes an export strictly: an unknown field of JSON is an error."""
    if content_type == "application/x-protobuf":
        message.ParseFromString(body)
        return message
    assert content_type == "application/json"
    from google.protobuf import json_format

    def ids(value: Any) -> Any:
        """OTLP writes ids in hexadecimal digits, and protobuf's own JSON in base64."""
        if isinstance(value, list):
            return [ids(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            key: base64.b64encode(bytes.fromhex(one)).decode()
            if key in ("traceId", "spanId", "parentSpanId")
            else ids(one)
            for key, one in value.items()
        }

    return json_format.ParseDict(ids(json.loads(body)), message)


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


def attributes(carrier: Any) -> dict[str, Any]:
    return {one.key: plain(one.value) for one in carrier.attributes}


class Decoded:
    """The last metrics, and all spans and logs, of what a collector has received."""

    def __init__(self, received: list[tuple[str, str, bytes]]) -> None:
        try:
            from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
            from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
        except ImportError:
            leave_out("opentelemetry-proto is not installed")
        self.metrics: dict[str, Any] = {}
        self.spans: list[Any] = []
        self.logs: list[Any] = []
        for path, content_type, body in received:
            if path == "/v1/metrics":
                export = decode(ExportMetricsServiceRequest(), content_type, body)
                [resource] = export.resource_metrics
                found = [metric for scope in resource.scope_metrics for metric in scope.metrics]
                self.metrics |= {metric.name: metric for metric in found}
            elif path == "/v1/traces":
                export = decode(ExportTraceServiceRequest(), content_type, body)
                [resource] = export.resource_spans
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            else:
                assert path == "/v1/logs"
                export = decode(ExportLogsServiceRequest(), content_type, body)
                [resource] = export.resource_logs
                self.logs += [log for scope in resource.scope_logs for log in scope.log_records]
            assert attributes(resource.resource)["service.name"] == "observed"

    def counter(self, name: str) -> float:
        metric = self.metrics[name]
        assert metric.sum.is_monotonic
        [point] = metric.sum.data_points
        return point.as_double

    def histogram(self, name: str) -> Any:
        metric = self.metrics[name]
        [point] = metric.histogram.data_points
        assert metric.unit == "s"
        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
        assert sum(point.bucket_counts) == point.count
        return point

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def torrent(source, collector) -> Torrent:
    url = f"{collector.url}/{PASSKEY}/announce"
    return make_torrent(write_file(source / "one.bin", 3 * MIB + 7, 8), 64 * KIB, [url])


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_collector_decodes_what_happened(torrent, target, seed, lie, collector, observed, encoding):
    liar = lie(torrent, lambda piece, block: block == 3)
    collector.knows(seed(torrent, bytes_per_second=2 * MIB).address)
    program = observed(f"otlp-{encoding}", collector.url, torrent.file, target, liar.address)
    truth = line_of(program)
    assert program.exit_code() == 0, program.errors

    seen = Decoded(collector.received)

    assert_same_content(torrent, target)
    assert truth["rejectedPieces"] > 0
    assert_metrics(seen, truth, torrent)
    assert_spans(seen, torrent, collector)
    assert_logs(seen, torrent)
    for _, _, body in collector.received:
        assert PASSKEY.encode() not in body


def assert_same_content(torrent: Torrent, target: Path) -> None:
    assert (target / torrent.name).read_bytes() == torrent.bytes()


def assert_metrics(seen: Decoded, truth: dict[str, Any], torrent: Torrent) -> None:
    assert seen.counter("piecewise_download_bytes_total") == truth["downloadedBytes"]
    assert seen.counter("piecewise_wasted_bytes_total") == truth["wastedBytes"]
    assert seen.counter("piecewise_upload_bytes_total") == truth["uploadedBytes"]
    assert seen.counter("piecewise_pieces_stored_total") == torrent.pieces
    assert seen.counter("piecewise_pieces_rejected_total") == truth["rejectedPieces"]
    assert seen.counter("piecewise_source_answers_total") >= 1
    assert seen.histogram("piecewise_write_duration_seconds").count == torrent.pieces
    assert seen.histogram("piecewise_verify_duration_seconds").count == torrent.pieces + truth["rejectedPieces"]
    requests = seen.histogram("piecewise_request_duration_seconds")
    assert torrent.pieces <= requests.count
    assert 0 < requests.sum < 60 * requests.count
    assert seen.metrics["piecewise_download_bytes_total"].unit == "By"
    assert "Payload bytes" in seen.metrics["piecewise_download_bytes_total"].description


def assert_spans(seen: Decoded, torrent: Torrent, collector: Collector) -> None:
    [caller] = seen.named("download")
    [life] = seen.named("piecewise.torrent")
    [check] = seen.named("piecewise.check")
    announces = seen.named("piecewise.announce")
    assert life.parent_span_id == caller.span_id
    assert check.parent_span_id == life.span_id
    assert {span.trace_id for span in seen.spans} == {caller.trace_id}
    assert attributes(life) == {
        "piecewise.info_hash": torrent.info_hash.hex(),
        "piecewise.name": torrent.name,
        "piecewise.pieces": torrent.pieces,
        "piecewise.bytes": 3 * MIB + 7,
    }
    assert attributes(check)["piecewise.stored_pieces"] == 0
    assert len(announces) == collector.announces
    events = [attributes(span)["piecewise.event"] for span in announces]
    # The program ends so soon that the trackers may never hear of the completion.
    assert events in (["started", "stopped"], ["started", "completed", "stopped"])
    for span in announces:
        assert span.parent_span_id == life.span_id
        assert attributes(span)["server.address"] == "127.0.0.1"
        assert attributes(span)["server.port"] == collector.port
    assert attributes(announces[0])["piecewise.peers"] == 1
    for span in seen.spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.status.code == 1, span
    assert life.start_time_unix_nano <= check.start_time_unix_nano
    assert not life.events, "the logs of a torrent must not gather in its span"
    # Nothing is traced per piece or block.
    assert len(seen.spans) == 3 + len(announces)


def assert_logs(seen: Decoded, torrent: Torrent) -> None:
    by_message = {plain(log.body): log for log in seen.logs}
    [life] = seen.named("piecewise.torrent")
    for message, severity in {
        "a torrent is added": "Info",
        "a peer is connected": "Debug",
        "a source of peers answered": "Debug",
        "a piece has the wrong digest": "Warn",
        "a peer is banned": "Debug",
        "the torrent is complete": "Info",
        "a torrent is removed": "Info",
    }.items():
        log = by_message[message]
        assert log.severity_text == severity
        assert attributes(log)["infoHash"] == torrent.info_hash.hex()
        assert attributes(log)["torrent"] == torrent.name
        assert log.span_id == life.span_id
        assert log.trace_id == life.trace_id
    assert 0 <= attributes(by_message["a piece has the wrong digest"])["piece"] < torrent.pieces


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Prometheus(LineProcess):
    """A Prometheus that scrapes one program, every second."""

    def __init__(self, port: int, home: Path) -> None:
        config = home / "prometheus.yml"
        jobs = [{"job_name": "observed", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
        # JSON is YAML.
        scraping = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        config.write_text(json.dumps({"global": scraping, "scrape_configs": jobs}))
        self.port = free_port()
        super().__init__(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={home / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=warn",
            ]
        )

    def query(self, expression: str) -> list[dict[str, Any]] | None:
        """The result of a query at this moment; `None` while Prometheus does not answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with suppress(OSError), urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            return json.load(answer)["data"]["result"]
        return None

    def value(self, expression: str) -> float | None:
        """The value of a query with one result; `None` if it has none."""
        result = self.query(expression)
        if not result:
            return None
        [one] = result
        return float(one["value"][1])

    def wait_for(self, what: str, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            if reached():
                return
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {DEADLINE} s; {self.errors}")

    def close(self) -> None:
        # It has a lock and a write-ahead log to close.
        with suppress(OSError):
            self.signal(signal.SIGTERM)
        super().close()


@pytest.fixture
def prometheus(running, tmp_path) -> Iterator[Callable[[int], Prometheus]]:
    if shutil.which("prometheus") is None:
        leave_out("prometheus is not installed")

    def start(port: int) -> Prometheus:
        started = Prometheus(port, tmp_path)
        running.callback(started.close)
        return started

    return start


def test_prometheus_scrapes_what_happened(torrent, target, seed, lie, collector, observed, prometheus):
    liar = lie(torrent, lambda piece, block: block == 3)
    collector.knows(seed(torrent, bytes_per_second=2 * MIB).address)
    program = observed("prometheus", torrent.file, target, liar.address)
    server = prometheus(line_of(program)["port"])
    truth = line_of(program)
    hashed = f'{{info_hash="{torrent.info_hash.hex()}"}}'

    server.wait_for("the last byte", lambda: server.value("piecewise_pieces_stored_total") == torrent.pieces)

    assert server.value('up{job="observed"}') == 1
    for expression, expected in {
        "piecewise_download_bytes_total": truth["downloadedBytes"],
        "piecewise_wasted_bytes_total": truth["wastedBytes"],
        "piecewise_pieces_rejected_total": truth["rejectedPieces"],
        "piecewise_write_duration_seconds_count": torrent.pieces,
        'piecewise_write_duration_seconds_bucket{le="+Inf"}': torrent.pieces,
        "piecewise_verify_duration_seconds_count": torrent.pieces + truth["rejectedPieces"],
        'piecewise_torrents{state="complete"}': 1,
        "sum(piecewise_torrents)": 1,
        "piecewise_peers_banned": truth["bannedPeers"],
        "piecewise_missing_bytes": 0,
        "piecewise_buffer_max_bytes": 64 * MIB,
        f"piecewise_torrent_download_bytes_total{hashed}": truth["downloadedBytes"],
        f"piecewise_torrent_missing_bytes{hashed}": 0,
    }.items():
        server.wait_for(expression, lambda e=expression, x=expected: server.value(e) == x)
    assert server.value("histogram_quantile(0.5, piecewise_write_duration_seconds_bucket)") is not None

    program.send_line()
    assert line_of(program) == "removed"

    # A series that a scrape does not have any more is stale at once.
    server.wait_for("no stale gauge", lambda: server.query("piecewise_torrents") == [])
    gone = '{__name__=~"piecewise_(torrent_|peers_|buffer_|missing_).*"}'
    assert server.query(gone) == []
    assert server.value("piecewise_download_bytes_total") == truth["downloadedBytes"]
