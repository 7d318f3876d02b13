import { assert, describe, it } from "@effect/vitest"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as DownloadDisplay from "../../src/cli/DownloadDisplay.ts"
import * as DownloadEvents from "../../src/cli/DownloadEvents.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { Metainfo } from "../../src/metainfo/Metainfo.ts"
import * as Storage from "../../src/storage/Storage.ts"
import { DiskFull, NotStored, StorageError, StorageRefused } from "../../src/storage/Storage.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../../src/torrent/TorrentStatus.ts"
import { fakeOutput } from "./program.ts"

const diskFull = new StorageError({ operation: "write", reason: new DiskFull({ path: "a.bin" }) })
const refused = new StorageError({ operation: "write", reason: new StorageRefused({ path: "a.bin", why: "no" }) })
const unreadable = new StorageError({ operation: "read", reason: new NotStored({ path: "a.bin" }) })
const piece = 3 as PieceIndex
const address = { host: "::1", port: 6_881 }
const metainfo = {
  name: "sample",
  infoHash: new Uint8Array(20).fill(0xab) as InfoHash,
  layout: FileLayout.make({ pieceLength: 16_384, files: [{ path: ["a.bin"], length: 65_536 }] })
} as Metainfo

const status: TorrentStatus = {
  state: { _tag: "Complete" },
  name: "name",
  isPaused: false,
  totalPieces: 4,
  storedPieces: 4,
  totalBytes: 65_536,
  storedBytes: 65_536,
  wantedPieces: 3,
  wantedBytes: 49_152,
  missingBytes: 0,
  resumedBytes: 0,
  downloadedBytes: 65_536,
  wastedBytes: 0,
  downloadBytesPerSecond: 1_000.4,
  uploadedBytes: 16_384,
  uploadBytesPerSecond: 500.6,
  unreadablePieces: 0,
  shareRatio: 0,
  isSeeding: false,
  bufferedBytes: 0,
  rejectedPieces: 0,
  bottleneck: { _tag: "PeersSlow", peers: 1 },
  connectedPeers: 1,
  unchokedPeers: 0,
  knownPeers: 1,
  bannedPeers: 0,
  damagedPieces: []
}

describe("DownloadEvents", () => {
  const cases: ReadonlyArray<readonly [TorrentEvent, DownloadEvents.Line | undefined]> = [
    [
      { _tag: "Checking", checkedPieces: 1, totalPieces: 4 },
      { event: "checking", checked: 1, pieces: 4 }
    ],
    [
      { _tag: "Started", storedPieces: 1, missingPieces: 2, totalPieces: 4 },
      {
        event: "started",
        infoHash: "ab".repeat(20),
        name: "sample",
        stored: 1,
        missing: 2,
        pieces: 4,
        bytes: 65_536,
        storedBytes: 65_536
      }
    ],
    [
      { _tag: "PeerConnected", address },
      { event: "peer", address: "[::1]:6881", connected: true }
    ],
    [
      { _tag: "PeerDisconnected", address, why: "it closed" },
      { event: "peer", address: "[::1]:6881", connected: false, why: "it closed" }
    ],
    [
      { _tag: "PeerUnreachable", address, why: "connection refused" },
      { event: "unreachable", address: "[::1]:6881", why: "connection refused" }
    ],
    [
      { _tag: "PeerBanned", address, why: "it lied" },
      { event: "banned", address: "[::1]:6881", why: "it lied" }
    ],
    [
      { _tag: "PieceStored", piece, storedPieces: 17 },
      { event: "piece", index: 3, stored: 17 }
    ],
    [
      { _tag: "PieceRejected", piece, contributors: [address] },
      { event: "rejected", index: 3, peers: ["[::1]:6881"] }
    ],
    [
      { _tag: "StorageFailed", piece, error: diskFull },
      { event: "storage", ok: false, index: 3, reason: "DiskFull", error: "the disk is full: a.bin cannot grow" }
    ],
    [{ _tag: "StorageRecovered" }, { event: "storage", ok: true }],
    [
      { _tag: "FlushFailed", error: diskFull },
      { event: "storage", ok: false, reason: "DiskFull", error: "the disk is full: a.bin cannot grow" }
    ],
    [
      { _tag: "FilesMissing", paths: ["a.bin"], missingFiles: 12 },
      { event: "missing", files: 12, paths: ["a.bin"] }
    ],
    [
      { _tag: "FilesChanged", paths: ["a.bin"] },
      { event: "changed", paths: ["a.bin"] }
    ],
    [
      { _tag: "PiecesLost", pieces: [piece], paths: ["a.bin"] },
      { event: "lost", pieces: [3], paths: ["a.bin"] }
    ],
    [{ _tag: "Flushing" }, { event: "flushing", stored: 4 }],
    [
      { _tag: "SourceAnswered", source: "http://t/announce", peers: 5 },
      { event: "tracker", url: "http://t/announce", peers: 5 }
    ],
    [
      { _tag: "SourceFailed", source: "http://t/announce", why: "no" },
      { event: "tracker", url: "http://t/announce", error: "no" }
    ],
    [
      { _tag: "TrackersRefused", trackers: 2, source: "http://t/announce", why: "no" },
      { event: "refused", trackers: 2, url: "http://t/announce", error: "no" }
    ],
    [{ _tag: "SourceAnswered", source: "given", peers: 1 }, undefined],
    [
      { _tag: "ResumeFailed", why: "no" },
      { event: "resume", error: "no" }
    ],
    [{ _tag: "Completed" }, undefined]
  ]

  it.each(cases)("writes %j", (event, expected) => {
    const line = DownloadEvents.line(event, metainfo, status)

    assert.deepStrictEqual(line, expected)
  })

  it("notes a problem once for as long as it continues", () => {
    const toNote = DownloadEvents.makeNotes()
    const full: TorrentEvent = { _tag: "StorageFailed", piece, error: diskFull }
    const silent: TorrentEvent = { _tag: "SourceFailed", source: "t", why: "no answer" }
    const answered: TorrentEvent = { _tag: "SourceAnswered", source: "t", peers: 0 }

    const notes = [full, full, silent, silent, { _tag: "StorageRecovered" } as const, full, answered, silent].map(
      toNote
    )

    assert.deepStrictEqual(notes, [
      "the disk is full: a.bin cannot grow; trying again",
      undefined,
      "t: no answer",
      undefined,
      "the storage accepts pieces again",
      "the disk is full: a.bin cannot grow; trying again",
      undefined,
      "t: no answer"
    ])
  })

  it("keeps trying while the disk is full, and gives up on a refusal", () => {
    assert.isFalse(Storage.isLasting(diskFull))
    assert.isTrue(Storage.isLasting(refused))
  })
})

describe("DownloadDisplay", () => {
  const now = () => 0

  it("draws on a terminal until it is complete, and nothing afterwards", () => {
    const { output, written } = fakeOutput(true)
    const display = DownloadDisplay.people({ metainfo, output, seeds: false, now })
    const downloading: TorrentStatus = { ...status, state: { _tag: "Downloading" } }

    display.tick(downloading)
    display.report([{ _tag: "PeerBanned", address, why: "it lied" }], downloading)
    display.report([{ _tag: "Completed" }, { _tag: "PeerDisconnected", address, why: "it closed" }], status)
    display.tick(status)

    assert.deepStrictEqual(
      written.drawn.map(([head]) => head),
      ["sample  downloading", "sample  complete in 0.0 s"]
    )
    assert.deepStrictEqual(written.notes, ["[::1]:6881 is banned: it lied"])
    assert.deepStrictEqual(written.printed, [])
  })

  it("ends the JSON lines with the one of completion", () => {
    const { output, written } = fakeOutput(false)
    const display = DownloadDisplay.json({ metainfo, output, seeds: false, now })

    display.tick(status)
    display.report([{ _tag: "PieceStored", piece, storedPieces: 4 }, { _tag: "Completed" }], status)
    display.report([{ _tag: "PeerDisconnected", address, why: "it closed" }], status)
    display.tick(status)

    const events = written.printed.map((line) => JSON.parse(line) as DownloadEvents.Line)
    assert.deepStrictEqual(
      events.map(({ event }) => event),
      ["progress", "piece", "complete"]
    )
    assert.include(events[0], { state: "complete", bytesPerSecond: 1_000, storedBytes: 65_536, bufferedBytes: 0 })
    assert.include(events[2], { stored: 4, bytes: 65_536, seconds: 0 })
  })

  it("continues the JSON lines while it seeds, and writes the port it listens on", () => {
    const { output, written } = fakeOutput(false)
    const display = DownloadDisplay.json({ metainfo, output, seeds: true, now })

    display.listen({ host: "::", port: 6_881 })
    display.report([{ _tag: "Completed" }, { _tag: "ReadFailed", piece, error: unreadable }], status)
    display.tick(status)

    const events = written.printed.map((line) => JSON.parse(line) as DownloadEvents.Line)
    assert.deepStrictEqual(events[0], { event: "listening", port: 6_881 })
    assert.deepInclude(events, { event: "unreadable", index: 3, error: "a.bin does not hold the bytes asked for" })
    assert.include(events.at(-1), { event: "progress", uploadedBytes: 16_384, uploadBytesPerSecond: 501 })
  })

  it("shows a seed on a terminal for as long as it runs", () => {
    const { output, written } = fakeOutput(true)
    const display = DownloadDisplay.people({ metainfo, output, seeds: true, now })

    display.listen({ host: "::", port: 6_881 })
    display.report([{ _tag: "Completed" }], status)
    display.tick(status)

    assert.deepStrictEqual(
      written.drawn.map(([head]) => head),
      ["sample  seeding", "sample  seeding"]
    )
    assert.deepStrictEqual(written.notes, ["peers can connect to port 6881"])
  })

  it("notes peers that close at once only while it seeds, because a download says so in its state", () => {
    const event = { _tag: "PeersHungUp", peers: 2 } as const
    const noted = [status, { ...status, state: { _tag: "Downloading" } } as const].map((now_) => {
      const { output, written } = fakeOutput(false)
      DownloadDisplay.people({ metainfo, output, seeds: true, now }).report([event], now_)
      return written.notes
    })
    const { output, written } = fakeOutput(false)
    DownloadDisplay.json({ metainfo, output, seeds: true, now }).report([event], status)

    const why = "2 peers closed at once; they may require encryption"
    assert.deepStrictEqual(noted, [[why], []])
    assert.deepStrictEqual(written.printed, [JSON.stringify({ event: "closed", peers: 2, why })])
  })

  it.each([
    ["people", DownloadDisplay.people, [], ["3 pieces are kept"]],
    ["programs", DownloadDisplay.json, ['{"event":"stopped","stored":4,"pieces":4,"storedBytes":65536}'], []],
    ["nobody", DownloadDisplay.silent, [], []]
  ] as const)("shows %s what is kept after a signal, and nothing more", (_, make, printed, notes) => {
    const { output, written } = fakeOutput(false)
    const display = make({ metainfo, output, seeds: false, now })

    display.stop(status, "3 pieces are kept")
    display.tick(status)

    assert.deepStrictEqual([written.printed, written.notes], [[...printed], [...notes]])
  })

  it("ends the JSON lines with the one of a failure", () => {
    const { output, written } = fakeOutput(false)
    const display = DownloadDisplay.json({ metainfo, output, seeds: false, now })

    display.fail("a.bin: no")
    display.tick(status)

    assert.deepStrictEqual(written.printed, ['{"event":"failed","error":"a.bin: no"}'])
  })

  it("writes no control character in JSON from any source of text", () => {
    const { output, written } = fakeOutput(false)
    const display = DownloadDisplay.json({ metainfo, output, seeds: false, now })
    const why = "no\x9b2J\x7f\u202e"

    display.report([{ _tag: "SourceFailed", source: `http://a.example/${why}`, why }], status)

    assert.deepStrictEqual(written.printed, [
      '{"event":"tracker","url":"http://a.example/no\\u009b2J\\u007f\\u202e","error":"no\\u009b2J\\u007f\\u202e"}'
    ])
  })

  it.each([
    ["people", DownloadDisplay.people],
    ["programs", DownloadDisplay.json]
  ] as const)("skips progress but no events for %s who do not read", (_, make) => {
    const { output, written } = fakeOutput(false)
    let isBehind = true
    const display = make({
      metainfo,
      output: { ...output, isBehind: () => isBehind },
      seeds: true,
      now
    })

    display.tick(status)
    const behind = written.printed.length
    display.report([{ _tag: "Completed" }], status)
    const told = written.printed.length
    isBehind = false
    display.tick(status)

    assert.deepStrictEqual([behind, told, written.printed.length], [0, 1, 2])
  })

  it("with --quiet, reports only what a person has to change", () => {
    const { output, written } = fakeOutput(true)
    const display = DownloadDisplay.silent({ metainfo, output, seeds: false, now })
    const full: TorrentEvent = { _tag: "StorageFailed", piece, error: diskFull }

    display.report([full, full, { _tag: "PeerBanned", address, why: "it lied" }, { _tag: "Completed" }], status)

    assert.deepStrictEqual(written.notes, ["piecewise: the disk is full: a.bin cannot grow; trying again"])
    assert.deepStrictEqual([written.drawn, written.printed], [[], []])
    assert.isUndefined(display.intervalMillis)
  })
})
