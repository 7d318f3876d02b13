import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bitfield from "../../../src/base/Bitfield.ts"
import type * as Bencode from "../../../src/bencode/Bencode.ts"
import * as Metainfo from "../../../src/metainfo/Metainfo.ts"
import * as QBittorrentSession from "../../../src/session/import/QBittorrentSession.ts"
import * as Recorded from "./recorded.ts"

const filesOf = async (hash: string) => ({
  resume: await Recorded.read("qbittorrent", `${hash}.fastresume`),
  torrent: await Recorded.read("qbittorrent", `${hash}.torrent`)
})
const season = await filesOf(Recorded.season)
const half = await filesOf(Recorded.half)
const magnet = { resume: await Recorded.read("qbittorrent", `${Recorded.magnet}.fastresume`), torrent: undefined }

const decode = (files: QBittorrentSession.Files) => Result.getOrThrow(QBittorrentSession.decode(files))

/** What is read of `season` if some values are others. */
const withValues = (values: { readonly [key: string]: Bencode.Encodable }) =>
  QBittorrentSession.decode({ ...season, resume: Recorded.withValues(season.resume, values) })

const why = (result: ReturnType<typeof withValues>) => (Result.isFailure(result) ? result.failure.why : "it is read")

describe("QBittorrentSession", () => {
  it("reads a torrent that is complete", () => {
    const { source, structure, ...torrent } = decode(season)

    assert.deepStrictEqual(torrent, {
      folders: ["/srv/films"],
      suffix: ".!qB",
      name: "season",
      labels: ["films: new", "hd", "seen"],
      isPaused: false,
      files: ["skip", "high", "normal"],
      options: {
        goal: { ratio: 2.5, time: Duration.minutes(90) },
        limits: { uploadBytesPerSecond: 100_000 }
      },
      imported: {
        addedAtMillis: torrent.imported.addedAtMillis,
        completedAtMillis: torrent.imported.completedAtMillis,
        statistics: { downloadedBytes: 0, uploadedBytes: 0, seedingMillis: torrent.imported.statistics!.seedingMillis },
        renamed: [{ file: 2, path: ["season", "second.mkv"] }],
        hintedPieces: Bitfield.full(6).bytes
      },
      notes: []
    })
    assert.isAbove(torrent.imported.addedAtMillis!, 1_700_000_000_000)
    const read = Result.getOrThrow(Metainfo.decode("metainfo" in source ? source.metainfo : new Uint8Array()))
    assert.deepStrictEqual(read.trackers, [["http://tracker.example:6969/announce"]])
    assert.deepStrictEqual(read.infoBytes, structure!.infoBytes)
  })

  it("reads a torrent of which a part is there, below the name of an incomplete file", () => {
    const { imported, isPaused, options } = decode(half)

    assert.isTrue(isPaused)
    assert.strictEqual(options.order, "sequential")
    assert.deepStrictEqual(imported.renamed, [{ file: 0, path: ["half.bin.!qB"] }])
    assert.deepStrictEqual(imported.hintedPieces, Uint8Array.of(0b1111_1100, 0))
    assert.isUndefined(imported.completedAtMillis)
  })

  it("makes a magnet link of a torrent without metadata", () => {
    const { files, imported, name, source } = decode(magnet)

    assert.deepStrictEqual([name, files, imported.hintedPieces], ["A film", undefined, undefined])
    assert.deepStrictEqual(source, {
      magnet: `magnet:?xt=urn:btih:${Recorded.magnet}&dn=A%20film&tr=http%3A%2F%2Ftracker.example%3A6969%2Fannounce`
    })
  })

  it("reads metadata that is in the resume data", () => {
    const info = Recorded.dictionaryOf(season.torrent).get("info")!
    const resume = Recorded.withValues(season.resume, { info })

    const torrent = decode({ resume, torrent: undefined })

    assert.strictEqual(torrent.name, "season")
    assert.deepStrictEqual(torrent.structure?.trackers, [["http://tracker.example:6969/announce"]])
  })

  it("leaves out trackers that the user has removed", () => {
    const { structure } = Result.getOrThrow(withValues({ trackers: [] }))

    assert.deepStrictEqual(structure?.trackers, [])
  })

  const goals: ReadonlyArray<readonly [string, { readonly [key: string]: Bencode.Encodable }, unknown]> = [
    ["of all torrents", { "qBt-ratioLimit": -2_000, "qBt-seedingTimeLimit": -2 }, undefined],
    ["none", { "qBt-ratioLimit": -1_000, "qBt-seedingTimeLimit": -1 }, undefined],
    ["a text, as old versions wrote", { "qBt-ratioLimit": "1.25", "qBt-seedingTimeLimit": -1 }, { ratio: 1.25 }],
    ["nonsense", { "qBt-ratioLimit": "much", "qBt-seedingTimeLimit": "long" }, undefined],
    ["more than all time", { "qBt-ratioLimit": 1_000, "qBt-seedingTimeLimit": Number.MAX_SAFE_INTEGER }, { ratio: 1 }]
  ]
  for (const [name, values, goal] of goals) {
    it(`reads a goal that is ${name}`, () => {
      assert.deepStrictEqual(Result.getOrThrow(withValues(values)).options.goal, goal)
    })
  }

  it("reads no time that is later than any date", () => {
    const late = { added_time: 9_000_000_000_000, completed_time: Number.MAX_SAFE_INTEGER, seeding_time: -1 }
    const { addedAtMillis, completedAtMillis, statistics } = Result.getOrThrow(withValues(late)).imported

    assert.deepStrictEqual([addedAtMillis, completedAtMillis, statistics?.seedingMillis], [undefined, undefined, 0])
  })

  it("says what it does not take over", () => {
    const torrent = Result.getOrThrow(
      withValues({
        "qBt-name": "My season",
        "qBt-inactiveSeedingTimeLimit": 10,
        "qBt-firstLastPiecePriority": 1,
        file_priority: [1, 1, 1, 1],
        pieces: new Uint8Array(7).fill(1),
        unfinished: [{ piece: 1, bitmask: new Uint8Array(1) }]
      })
    )

    assert.deepStrictEqual([torrent.files, torrent.imported.hintedPieces], [undefined, undefined])
    assert.deepStrictEqual(torrent.notes, [
      "1 pieces of which only a part is there are fetched again.",
      "The name that was given to it is not taken over.",
      "The limit of the time without uploads is not taken over.",
      "The first and the last pieces are not preferred.",
      "It says which pieces are stored of another number of pieces, so its files are verified first.",
      "Its priorities are of another number of files, so all files are wanted."
    ])
  })

  it("takes nothing over of a torrent that it cannot read", () => {
    assert.match(why(withValues({ save_path: "", "qBt-savePath": "" })), /does not say where/)
    assert.match(why(withValues({ save_path: "films" })), /in films, which is relative/)
    assert.match(why(withValues({ mapped_files: ["", "", "/elsewhere/two.mkv"] })), /moved out of its folder/)
    assert.match(
      why(QBittorrentSession.decode({ ...season, torrent: Uint8Array.of(1) })),
      /torrent file cannot be used/
    )
    assert.match(why(QBittorrentSession.decode({ ...season, resume: Uint8Array.of(1) })), /resume data is damaged/)
    const hashless = { resume: Recorded.withValues(magnet.resume, { "info-hash": "" }), torrent: undefined }
    assert.match(why(QBittorrentSession.decode(hashless)), /neither metadata nor an info hash/)
  })

  it("never throws, whatever is in the files", () => {
    const damage = fc.record({ at: fc.nat(season.resume.length - 1), byte: fc.nat(255), length: fc.nat(2_000) })
    fc.assert(
      fc.property(damage, ({ at, byte, length }) => {
        const resume = season.resume.slice(0, Math.max(length, at + 1))
        resume[at] = byte
        QBittorrentSession.decode({ ...season, resume })
      }),
      { numRuns: 500 }
    )
  })

  it("reads the order of the queue", () => {
    assert.deepStrictEqual(
      QBittorrentSession.queueOf(`${Recorded.half.toUpperCase()}\nnothing\n${Recorded.season}\n`),
      [Recorded.half, Recorded.season]
    )
  })
})
