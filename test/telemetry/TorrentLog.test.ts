import { assert, describe, it } from "@effect/vitest"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as TorrentLog from "../../src/telemetry/TorrentLog.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import { TorrentDefect } from "../../src/torrent/TorrentStatus.ts"

const address = { host: "10.0.0.1", port: 6_881 }
const rejected = (piece: number): TorrentEvent => ({
  _tag: "PieceRejected",
  piece: piece as PieceIndex,
  contributors: [address]
})
const failed = (source: string, why = "connection refused"): TorrentEvent => ({ _tag: "SourceFailed", source, why })

const factOf = (entry: TorrentLog.Entry | undefined, name: string) => entry?.annotations[name]

describe("TorrentLog", () => {
  it("logs an event at its level, with its facts", () => {
    const log = TorrentLog.make()

    const entry = TorrentLog.read(log, rejected(7), "Info", () => 0)

    assert.deepStrictEqual(entry, {
      level: "Warn",
      message: "a piece has the wrong digest",
      annotations: { piece: 7, peers: "10.0.0.1:6881" }
    })
  })

  it("logs nothing below the level that is asked for", () => {
    const log = TorrentLog.make()
    const event: TorrentEvent = { _tag: "PeerConnected", address }

    assert.isUndefined(TorrentLog.read(log, event, "Info", () => 0))
    assert.isDefined(TorrentLog.read(log, event, "Debug", () => 0))
    assert.isUndefined(TorrentLog.read(log, rejected(1), "None", () => 0))
  })

  it("logs no stored piece, and of a check only its beginning", () => {
    const log = TorrentLog.make()
    const at = (checkedPieces: number): TorrentEvent => ({ _tag: "Checking", checkedPieces, totalPieces: 9 })
    const stored: TorrentEvent = { _tag: "PieceStored", piece: 0 as PieceIndex, storedPieces: 1 }

    const entries = [at(0), at(1), at(9), stored].map((event) => TorrentLog.read(log, event, "All", () => 0)?.message)

    assert.deepStrictEqual(entries, [TorrentLog.messages.Checking, undefined, undefined, undefined])
  })

  it("leaves out what hostile peers cause too often, and says how much", () => {
    const log = TorrentLog.make()
    let now = 0
    const count = (events: number): number => {
      let logged = 0
      for (let piece = 0; piece < events; piece++) {
        if (TorrentLog.read(log, rejected(piece), "Info", () => now) !== undefined) logged++
      }
      return logged
    }

    const first = count(1_000)
    const unrelated = TorrentLog.read(log, { _tag: "Completed" }, "Info", () => now)
    now += TorrentLog.burstMillis
    const next = TorrentLog.read(log, rejected(1), "Info", () => now)

    assert.strictEqual(first, TorrentLog.mostInBurst)
    assert.isDefined(unrelated)
    assert.strictEqual(factOf(next, "leftOut"), 1_000 - TorrentLog.mostInBurst)
  })

  it("warns once of a source that goes on failing, until it has answered", () => {
    const log = TorrentLog.make()
    const source = "udp://tracker.example:80"
    const levelsOf = (failures: number) =>
      Array.from({ length: failures }, () => TorrentLog.read(log, failed(source), "Info", () => 0)?.message)

    const before = levelsOf(10)
    TorrentLog.read(log, { _tag: "SourceAnswered", source, peers: 1 }, "Info", () => 0)
    const after = levelsOf(4)

    const warnings = [before, after].map((messages) => messages.map((message) => message === TorrentLog.lastingMessage))
    assert.deepStrictEqual(
      warnings.map((each) => each.map(Number).join("")),
      ["0001000000", "0001"]
    )
  })

  it.each([
    ["https://tracker.example/9f8e7d6c5b4a/announce", "tracker.example"],
    ["http://tracker.example:2710/announce?passkey=9f8e7d6c5b4a", "tracker.example:2710"],
    ["http://me:9f8e7d6c5b4a@tracker.example/announce", "tracker.example"],
    ["udp://tracker.example:80/announce?key=9f8e7d6c5b4a", "tracker.example:80"]
  ])("hides the passkey of %s, also where the tracker repeats it", (url, place) => {
    const log = TorrentLog.make()
    const why = `refused: unregistered passkey 9f8e7d6c5b4a at ${url}`

    const entry = TorrentLog.read(log, failed(url, why), "Debug", () => 0)

    assert.strictEqual(factOf(entry, "source"), place)
    assert.match(String(factOf(entry, "why")), /^refused: unregistered passkey/)
    assert.notInclude(JSON.stringify(entry), "9f8e7d6c5b4a")
  })

  it("names a source that has no URL", () => {
    const entry = TorrentLog.read(TorrentLog.make(), failed("a list"), "Debug", () => 0)

    assert.strictEqual(factOf(entry, "source"), "a list")
  })

  it("adds the cause of a defect, and names few of many paths", () => {
    const log = TorrentLog.make()
    const bug = new Error("a bug")
    const paths = Array.from({ length: 1_000 }, (_, index) => `file ${index}`)

    const defect = TorrentLog.read(log, { _tag: "Failed", error: new TorrentDefect({ cause: bug }) }, "Info", () => 0)
    const lost = TorrentLog.read(log, { _tag: "PiecesLost", pieces: [], paths }, "Info", () => 0)

    assert.strictEqual(defect?.level, "Error")
    assert.strictEqual(defect?.cause?.reasons.length, 1)
    assert.match(String(factOf(lost, "paths")), /^file 0, .*file 9 and 990 more$/)
  })

  it("fault 90: shows no more of the URL of a web seed than its host", () => {
    const supplier = "web seed https://seed.example:8443/passkey/files/"
    const why = "HTTP status 403"

    const failed = TorrentLog.read(TorrentLog.make(), { _tag: "SupplierFailed", supplier, why }, "Debug", () => 0)
    const other = TorrentLog.read(
      TorrentLog.make(),
      { _tag: "SupplierJoined", supplier: "the cache of the office" },
      "Debug",
      () => 0
    )

    assert.deepStrictEqual(failed?.annotations, { supplier: "seed.example:8443", why })
    assert.deepStrictEqual(other?.annotations, { supplier: "the cache of the office" })
  })
})
