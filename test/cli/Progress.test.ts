import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Progress from "../../src/cli/Progress.ts"
import * as TerminalText from "../../src/cli/TerminalText.ts"
import { DiskFull, StorageError } from "../../src/storage/Storage.ts"
import type { TorrentStatus } from "../../src/torrent/TorrentStatus.ts"

const MiB = 1_048_576

const status = ({ storedBytes = 128.4 * MiB, totalBytes = 200 * MiB, ...changes }: Partial<TorrentStatus> = {}) => ({
  state: { _tag: "Downloading" } as const,
  name: "sample",
  isPaused: false,
  totalPieces: 200,
  storedPieces: 128,
  totalBytes,
  storedBytes,
  wantedPieces: 200,
  wantedBytes: totalBytes,
  missingBytes: totalBytes - storedBytes,
  unverifiedPieces: 0,
  unverifiedBytes: 0,
  resumedBytes: 0,
  downloadedBytes: 130 * MiB,
  wastedBytes: 0,
  bottleneck: { _tag: "PeersSlow", peers: 3 } as const,
  downloadBytesPerSecond: 8 * MiB,
  uploadedBytes: 0,
  uploadBytesPerSecond: 0,
  unreadablePieces: 0,
  shareRatio: 0,
  isSeeding: false,
  bufferedBytes: 12 * MiB,
  rejectedPieces: 0,
  damagedPieces: [],
  connectedPeers: 3,
  webSeeds: 0,
  unchokedPeers: 0,
  knownPeers: 5,
  bannedPeers: 0,
  ...changes
})

const view = (changes: Partial<TorrentStatus> = {}, more: Partial<Progress.View> = {}): Progress.View => ({
  name: "sample",
  status: status(changes),
  checking: undefined,
  seeds: false,
  elapsedSeconds: 16,
  ...more
})

const plain = (columns: number): Progress.Style => ({ columns, color: false, unicode: true })

const diskFull = new StorageError({ operation: "write", reason: new DiskFull({ path: "sample/a.bin" }) })

describe("Progress", () => {
  it("shows a running download", () => {
    const lines = Progress.render(view(), plain(81))

    assert.deepStrictEqual(lines, [
      "sample  downloading",
      "██████████████████████████████████████▌░░░░░░░░░░░░░░░░░░░░░  64.2%",
      "128.4 MiB of 200.0 MiB · 8.0 MiB/s · 9 s left · 3 peers · 12.0 MiB buffered"
    ])
  })

  it("counts only wanted bytes", () => {
    const some = { wantedPieces: 40, wantedBytes: 40 * MiB, missingBytes: 10 * MiB }

    const lines = Progress.render(view(some), plain(81))

    assert.include(lines[1], " 75.0%")
    assert.include(lines[2], "30.0 MiB of 40.0 MiB · 8.0 MiB/s · 2 s left")
    assert.include(Progress.line(view(some)), "downloading, 75.0%, 30.0 MiB of 40.0 MiB")
  })

  it("shows uploads during a download, and only uploads while seeding", () => {
    const given = { uploadBytesPerSecond: 2 * MiB, uploadedBytes: 30 * MiB, shareRatio: 1.5 }

    const [downloading, seeding, losing] = [
      view(given),
      view({ ...given, state: { _tag: "Complete" } }, { seeds: true }),
      view({ ...given, state: { _tag: "Complete" }, unreadablePieces: 1 }, { seeds: true })
    ].map((shown) => Progress.render(shown, plain(101)))

    assert.include(downloading![2], "8.0 MiB/s · 2.0 MiB/s up · 9 s left")
    assert.deepStrictEqual(
      [seeding![0], seeding![2]],
      ["sample  seeding", "30.0 MiB uploaded · ratio 1.50 · 2.0 MiB/s · 3 peers"]
    )
    assert.strictEqual(losing![2], "30.0 MiB uploaded · ratio 1.50 · 2.0 MiB/s · 3 peers · 1 unreadable piece")
  })

  it("keeps the time that is left and the peers on a narrow terminal", () => {
    const slow = {
      downloadBytesPerSecond: 999 * 1_024,
      wantedBytes: 1_000_000 * MiB,
      missingBytes: 900_000 * MiB,
      uploadBytesPerSecond: 20 * MiB
    }

    const lines = [21, 31, 41, 61].map((columns) => Progress.render(view(slow), plain(columns))[2])

    assert.deepStrictEqual(lines, [
      "10 d 16 h left",
      "10 d 16 h left · 3 peers",
      "999.0 KiB/s · 10 d 16 h left · 3 peers",
      "999.0 KiB/s · 10 d 16 h left · 3 peers"
    ])
  })

  it("uses ASCII if the terminal has nothing else", () => {
    const lines = Progress.render(view(), { columns: 41, color: false, unicode: false })

    assert.deepStrictEqual(lines, [
      "sample  downloading",
      "[###################------------]  64.2%",
      "8.0 MiB/s, 9 s left, 3 peers"
    ])
  })

  it("colours do not change the text", () => {
    const lines = Progress.render(view(), { ...plain(81), color: true })

    assert.strictEqual(lines[0], "\x1b[1msample\x1b[0m  \x1b[36mdownloading\x1b[0m")
    assert.deepStrictEqual(lines.map(stripVTControlCharacters), Progress.render(view(), plain(81)))
  })

  it("shows bad pieces and banned peers before less important facts", () => {
    const lines = Progress.render(view({ rejectedPieces: 1, bannedPeers: 2 }), plain(101))

    assert.strictEqual(
      lines[2],
      "128.4 MiB of 200.0 MiB · 8.0 MiB/s · 9 s left · 3 peers · 1 bad piece · 2 peers banned"
    )
  })

  it("shows the check of stored pieces", () => {
    const checking = { checkedPieces: 50, totalPieces: 200 }
    const lines = Progress.render(view({ state: { _tag: "Checking" }, storedBytes: 0 }, { checking }), plain(41))

    assert.deepStrictEqual(lines, [
      "sample  checking, 50 of 200 pieces",
      "████████▎░░░░░░░░░░░░░░░░░░░░░░░░  25.0%",
      "200.0 MiB"
    ])
  })

  it("shows that it waits for peers, without an unknown remaining time", () => {
    const bottleneck = { _tag: "NobodyConnected", knownPeers: 5 } as const
    const waiting = { connectedPeers: 0, downloadBytesPerSecond: 0, bufferedBytes: 0, bottleneck }
    const lines = Progress.render(view(waiting), plain(81))

    assert.strictEqual(lines[0], "sample  none of 5 known peers has answered")
    assert.strictEqual(lines[2], "128.4 MiB of 200.0 MiB · 0 B/s · 0 peers · 0 B buffered")
  })

  it("shows what limits the speed, unless it is the peers", () => {
    const choked = view({ bottleneck: { _tag: "AllChoke", peers: 3 } })
    const source = { _tag: "SourcesFailing", source: "udp://t.example:1", why: "no answer in time" } as const
    const alone = view({ connectedPeers: 0, knownPeers: 0, bottleneck: source })

    assert.strictEqual(
      Progress.render(choked, plain(81))[0],
      "sample  downloading, waiting for one of 3 peers to unchoke us"
    )
    assert.strictEqual(Progress.render(alone, plain(81))[0], "sample  no peers: udp://t.example:1: no answer in time")
  })

  it("shows that the disk is full", () => {
    const lines = Progress.render(view({ state: { _tag: "StorageFailing", error: diskFull } }), plain(81))

    assert.strictEqual(lines[0], "sample  the disk is full: sample/a.bin cannot grow; waiting")
    assert.strictEqual(lines[2], "128.4 MiB of 200.0 MiB · 8.0 MiB/s · 3 peers · 12.0 MiB buffered")
  })

  it("leaves out the name if there is no room for name and state", () => {
    const lines = Progress.render(view({ state: { _tag: "StorageFailing", error: diskFull } }), plain(41))

    assert.strictEqual(lines[0], "the disk is full: sample/a.bin cannot g…")
  })

  it("ends with its duration and average speed", () => {
    const lines = Progress.render(view({ state: { _tag: "Complete" }, storedBytes: 200 * MiB }), plain(41))

    assert.deepStrictEqual(lines, [
      "sample  complete in 16 s, 12.5 MiB/s",
      "█████████████████████████████████ 100.0%",
      "200.0 MiB of 200.0 MiB"
    ])
  })

  it("does not claim to have fetched what was already stored", () => {
    const complete = { state: { _tag: "Complete" }, storedBytes: 200 * MiB, resumedBytes: 200 * MiB } as const
    const lines = Progress.render(view(complete), plain(41))

    assert.strictEqual(lines[0], "sample  complete, already stored")
  })

  it("never shows 100% before it is complete", () => {
    const lines = Progress.render(view({ storedBytes: 200 * MiB - 1 }), plain(41))

    assert.match(lines[1]!, / 99\.9%$/)
  })

  it("does not let a name move the cursor", () => {
    const lines = Progress.render(view({}, { name: "a\x1b[2Jb\nc\u202ed" }), plain(81))

    assert.strictEqual(lines[0], "a\ufffd[2Jb\ufffdc\ufffdd  downloading")
  })

  it.each([1, 2, 5, 10, 20, 40, 79, 80, 200])("fits %d columns in three lines", (columns) => {
    const names = ["sample", "日本語のとても長い名前".repeat(8), "🧩".repeat(100), ""]
    for (const name of names) {
      for (const state of [{ _tag: "Downloading" }, { _tag: "StorageFailing", error: diskFull }] as const) {
        const lines = Progress.render(view({ state, rejectedPieces: 3 }, { name }), { ...plain(columns), color: true })

        assert.strictEqual(lines.length, 3)
        for (const line of lines) {
          assert.isAtMost(TerminalText.width(stripVTControlCharacters(line)), Math.max(1, columns - 1), line)
        }
      }
    }
  })

  it("is one line in a log", () => {
    const line = Progress.line(view({ rejectedPieces: 2 }))

    assert.strictEqual(
      line,
      "sample: downloading, 64.2%, 128.4 MiB of 200.0 MiB, 8.0 MiB/s, 9 s left, 3 peers, 2 bad pieces, 12.0 MiB buffered"
    )
  })
})
