"""The API of a service does what its OpenAPI document says, for requests that schemathesis makes up.

Most requests name torrents, labels and files that exist, so that they reach what they are for. Each operation that is
here must succeed at least once, and none may answer with a 5xx or with something that the document does not describe.
`npm run soak -- api` tries many more requests.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from service import Service
from torrents import KIB, make_torrent, write_file

EXAMPLES = int(os.environ.get("PIECEWISE_API_EXAMPLES", "12"))
SEED = int(os.environ.get("PIECEWISE_SEED", "1"))

HEAD_TOO_LONG = 431

# A stream of events never ends. Logging in is limited, so that it refuses most requests (test/control/security).
LEFT_OUT = {"service.events", "login.login"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("downloads")
    started = Service(folder, tmp_path_factory.mktemp("home"), "--no-listen")
    yield started
    started.close()


@schemathesis.serializer("application/x-bittorrent")
def serialize_torrent(_context: object, value: object) -> bytes:
    """A torrent file, or what was made up in place of one."""
    return value if isinstance(value, bytes) else json.dumps(value, default=str).encode()


class Torrents:
    """The torrents, labels and goals that requests name. What a request removes comes back before the next one."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        content = write_file(folder / "content" / "one.bin", 100 * KIB, 1)
        write_file(folder / "content" / "two" / "two.bin", 50 * KIB, 2)
        self.files = [make_torrent(content.parent, 16 * KIB).file, make_torrent(content, 16 * KIB).file]
        self.hashes = [service.add(file, labels="films") for file in self.files]
        self.made = 0

        self.restore()

    def restore(self) -> None:
        for file, info_hash in zip(self.files, self.hashes, strict=True):
            if self.service.ask("GET", f"v1/torrents/{info_hash}").status_code == 404:
                self.service.add(file)
        self.service.ask("PUT", "v1/labels/films", json={"folder": "films"})
        self.service.ask("PUT", "v1/tracker-goals/tracker.example", json={"ratio": 2})

    def another(self) -> bytes:
        """A torrent file that the service does not have."""
        self.made += 1
        name = f"made {self.made}".encode()
        return b"d4:infod6:lengthi5e4:name%d:%s12:piece lengthi16384e6:pieces20:%see" % (len(name), name, b"x" * 20)


# Folders are below the one for downloads: an absolute one may be anywhere on this machine.
FOLDERS = st.sampled_from(["films", "a/b", "ф"])


def known(data: st.DataObject, torrents: Torrents, case: schemathesis.Case) -> None:
    """Has a request name what exists, mostly, and nothing outside of the folder for downloads ever."""
    often = data.draw(st.integers(0, 9)) < 9
    for values in (case.path_parameters, case.query, case.body):
        if isinstance(values, dict) and isinstance(values.get("folder"), str):
            values["folder"] = data.draw(FOLDERS)
    if often:
        choices = {"infoHash": torrents.hashes, "file": ["0", "1"], "name": ["films", "b c"], "host": ["tracker.example"]}
        for name, values in choices.items():
            if name in case.path_parameters:
                case.path_parameters[name] = data.draw(st.sampled_from(values))
    body = case.body
    if case.operation.label == "POST /v1/torrents" and isinstance(body, dict):
        # The service would have to fetch a URL, which this machine must not.
        if often or "url" in json.dumps(body):
            info_hash = data.draw(st.binary(min_size=20, max_size=20)).hex()
            body["source"] = {"_tag": "Magnet", "link": f"magnet:?xt=urn:btih:{info_hash}"}
    if case.operation.label == "POST /v1/torrents/file" and often:
        case.body = torrents.another()
    if case.operation.label.endswith("/files") and isinstance(body, dict) and often:
        body["files"] = [{"index": 0, "priority": data.draw(st.sampled_from(["high", "normal", "skip"]))}]
    if case.operation.label.endswith("/files/{file}/path") and isinstance(body, dict) and often:
        torrents.made += 1
        body["path"] = [f"renamed {torrents.made}"]


def operations(schema):
    """The operations, by their ids. Those that remove something come last."""
    found = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        found[operation.definition.raw["operationId"]] = operation
    return dict(sorted(found.items(), key=lambda item: item[1].method == "delete"))


CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


def test_does_what_its_document_says(service, tmp_path):
    torrents = Torrents(service, tmp_path)
    document = service.ask("GET", "v1/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=service.url)
    statuses: dict[str, Counter[int]] = {}

    def attempt(operation, mode, count, seen):
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @seed(SEED)
        @given(data=st.data())
        def run(data):
            if operation.method == "delete":
                torrents.restore()
            case = data.draw(operation.as_strategy(generation_mode=mode))
            known(data, torrents, case)
            response = case.call(base_url=service.url, headers=service.headers, session=service.session)
            seen[response.status_code] += 1
            # Node answers a head that is too long, before the API is asked.
            if response.status_code == HEAD_TOO_LONG:
                return
            case.validate_response(response, checks=CHECKS)

        run()

    for name, operation in operations(schema).items():
        if name in LEFT_OUT:
            continue
        seen = statuses[name] = Counter()
        attempt(operation, GenerationMode.POSITIVE, EXAMPLES, seen)
        if operation.body or operation.query or operation.path_parameters:
            attempt(operation, GenerationMode.NEGATIVE, EXAMPLES // 2, seen)

    print(json.dumps({name: dict(seen) for name, seen in statuses.items()}, indent=1))
    failed = [name for name, seen in statuses.items() if not any(200 <= status < 300 for status in seen)]
    assert failed == []
    assert len(statuses) == sum(len(methods) for methods in document["paths"].values()) - len(LEFT_OUT)
