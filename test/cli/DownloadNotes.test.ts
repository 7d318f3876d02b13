import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as DownloadDisplay from "../../src/cli/DownloadDisplay.ts"
import * as DownloadNotes from "../../src/cli/DownloadNotes.ts"
import * as JsonLines from "../../src/cli/JsonLines.ts"
import * as JsonOutput from "../../src/cli/JsonOutput.ts"
import type { Output } from "../../src/cli/Output.ts"
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
  isPrivate: false,
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
  unverifiedPieces: 0,
  unverifiedBytes: 0,
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
  webSeeds: 0,
  unchokedPeers: 0,
  knownPeers: 1,
  bannedPeers: 0,
  damagedPieces: []
}

describe("DownloadNotes", () => {
  it("notes a problem once for as long as it continues", () => {
    const toNote = DownloadNotes.makeNotes()
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
  const decodeLine = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.toCodecJson(JsonLines.Line)))
  const decode = (lines: ReadonlyArray<string>) => lines.map((line) => decodeLine(line))
  const ofJson = (output: Output) => DownloadDisplay.json(JsonOutput.make(output))

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

  it("writes a JSON line for each event until it is complete", () => {
    const { output, written } = fakeOutput(false)
    const lines = JsonOutput.make(output)
    const display = DownloadDisplay.json(lines)({ metainfo, output, seeds: false, now })

    display.tick(status)
    display.report([{ _tag: "PieceStored", piece, storedPieces: 4 }, { _tag: "Completed" }], status)
    display.report([{ _tag: "PeerDisconnected", address, why: "it closed" }], status)
    display.tick(status)

    const events = decode(written.printed)
    assert.deepStrictEqual(
      events.map(({ _tag }) => _tag),
      ["Torrent", "Progress", "PieceStored", "Completed"]
    )
    assert.deepInclude(events[0], { name: "sample", infoHash: metainfo.infoHash, totalBytes: 65_536, files: 1 })
    assert.deepInclude(events[1], {
      why: "as fast as the only peer sends",
      status: { ...status, downloadBytesPerSecond: 1_000, uploadBytesPerSecond: 501 }
    })
    assert.deepStrictEqual(lines.status(), status)
  })

  it("continues the JSON lines while it seeds, and writes the port it listens on", () => {
    const { output, written } = fakeOutput(false)
    const display = DownloadDisplay.json(JsonOutput.make(output))({ metainfo, output, seeds: true, now })

    display.listen({ host: "::", port: 6_881 })
    display.report([{ _tag: "Completed" }, { _tag: "ReadFailed", piece, error: unreadable }], status)
    display.tick(status)

    const events = decode(written.printed)
    assert.deepStrictEqual(events[1], { _tag: "Listening", port: 6_881 })
    assert.deepInclude(events[3], { _tag: "ReadFailed", piece, message: "a.bin does not hold the bytes asked for" })
    assert.strictEqual(events.at(-1)?._tag, "Progress")
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
    const event = { _tag: "PeersHungUp", peers: 2, encryption: "off" } as const
    const noted = [status, { ...status, state: { _tag: "Downloading" } } as const].map((now_) => {
      const { output, written } = fakeOutput(false)
      DownloadDisplay.people({ metainfo, output, seeds: true, now }).report([event], now_)
      return written.notes
    })
    const { output, written } = fakeOutput(false)
    DownloadDisplay.json(JsonOutput.make(output))({ metainfo, output, seeds: true, now }).report([event], status)

    const why = "2 peers closed at once; they may require encryption, which is off"
    assert.deepStrictEqual(noted, [[why], []])
    assert.deepStrictEqual([decode(written.printed).at(-1), written.notes], [event, []])
  })

  it.each([
    ["people", () => DownloadDisplay.people, ["3 pieces are kept"]],
    ["programs", ofJson, []],
    ["nobody", () => DownloadDisplay.silent, []]
  ] as const)("shows %s what is kept after a signal, and nothing more", (_, ofOutput, notes) => {
    const { output, written } = fakeOutput(false)
    const display = ofOutput(output)({ metainfo, output, seeds: false, now })
    const before = written.printed.length

    display.stop(status, "3 pieces are kept")
    display.tick(status)

    assert.deepStrictEqual([written.printed.length, written.notes], [before, [...notes]])
  })

  it("writes no JSON line after a failure", () => {
    const { output, written } = fakeOutput(false)
    const display = DownloadDisplay.json(JsonOutput.make(output))({ metainfo, output, seeds: false, now })

    display.fail("a.bin: no")
    display.tick(status)
    display.report([{ _tag: "Completed" }], status)

    assert.deepStrictEqual(
      decode(written.printed).map(({ _tag }) => _tag),
      ["Torrent"]
    )
  })

  it("writes no control character in JSON from any source of text", () => {
    const { output, written } = fakeOutput(false)
    const display = DownloadDisplay.json(JsonOutput.make(output))({ metainfo, output, seeds: false, now })
    const why = "no\x9b2J\x7f\u202e"

    display.report([{ _tag: "SourceFailed", source: `http://a.example/${why}`, why }], status)

    assert.strictEqual(
      written.printed.at(-1),
      '{"_tag":"SourceFailed","source":"http://a.example/no\\u009b2J\\u007f\\u202e","why":"no\\u009b2J\\u007f\\u202e"}'
    )
  })

  it.each([
    ["people", () => DownloadDisplay.people],
    ["programs", ofJson]
  ] as const)("skips progress but no events for %s who do not read", (_, ofOutput) => {
    const { output, written } = fakeOutput(false)
    let isBehind = true
    const display = ofOutput(output)({
      metainfo,
      output: { ...output, isBehind: () => isBehind },
      seeds: true,
      now
    })
    const before = written.printed.length

    display.tick(status)
    const behind = written.printed.length
    display.report([{ _tag: "Completed" }], status)
    const told = written.printed.length
    isBehind = false
    display.tick(status)

    assert.deepStrictEqual([behind, told, written.printed.length], [before, before + 1, before + 2])
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
