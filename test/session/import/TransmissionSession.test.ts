import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Bitfield from "../../../src/base/Bitfield.ts"
import type * as Bencode from "../../../src/bencode/Bencode.ts"
import * as CreateTorrent from "../../../src/metainfo/CreateTorrent.ts"
import * as TransmissionSession from "../../../src/session/import/TransmissionSession.ts"
import * as Recorded from "./recorded.ts"

const filesOf = async (hash: string): Promise<TransmissionSession.Files> => ({
  resume: await Recorded.read("transmission", "resume", `${hash}.resume`),
  source: { torrent: await Recorded.read("transmission", "torrents", `${hash}.torrent`) }
})
const season = await filesOf(Recorded.season)
const half = await filesOf(Recorded.half)
const magnet = await filesOf(Recorded.magnet)

const decode = (files: TransmissionSession.Files) => Result.getOrThrow(TransmissionSession.decode(files))

const withValues = (
  files: TransmissionSession.Files,
  values: { readonly [key: string]: Bencode.Encodable | undefined }
) => TransmissionSession.decode({ ...files, resume: Recorded.withValues(files.resume, values) })

const link = `magnet:?xt=urn:btih:${Recorded.magnet}&dn=A%20film&tr=http%3A%2F%2Ftracker.example%3A6969%2Fannounce`

describe("TransmissionSession", () => {
  it("reads a torrent that is complete", () => {
    const { source: _, structure: __, ...torrent } = decode(season)

    assert.deepStrictEqual(torrent, {
      folders: ["/srv/films"],
      suffix: ".part",
      name: "season",
      labels: ["films: new", "seen"],
      isPaused: false,
      files: ["skip", "high", "normal"],
      options: { goal: { ratio: 2.5 }, limits: { uploadBytesPerSecond: 100_000 } },
      imported: {
        addedAtMillis: torrent.imported.addedAtMillis,
        completedAtMillis: undefined,
        statistics: { downloadedBytes: 0, uploadedBytes: 0, seedingMillis: 7_000 },
        renamed: [{ file: 2, path: ["season", "second.mkv"] }],
        hintedPieces: Bitfield.full(6).bytes
      },
      notes: []
    })
    assert.isAbove(torrent.imported.addedAtMillis!, 1_700_000_000_000)
  })

  it("reads a torrent of which a part is there, in the folder for incomplete ones", () => {
    const { folders, imported, isPaused, options } = decode(half)

    assert.isTrue(isPaused)
    assert.deepStrictEqual(folders, ["/srv/films", "/srv/incomplete"])
    assert.deepStrictEqual(imported.hintedPieces, Uint8Array.of(0b1111_1100, 0))
    assert.deepStrictEqual([options.goal, options.limits], [undefined, undefined])
  })

  it("makes a magnet link of a torrent without metadata, or takes the link of later versions", () => {
    const early = decode(magnet)
    const late = decode({ ...magnet, source: { magnet: `${link}\n` } })

    assert.deepStrictEqual([early.source, early.name], [{ magnet: link }, "A film"])
    assert.deepStrictEqual([late.source, late.name], [{ magnet: link }, "A film"])
  })

  it("reads keys with underscores, as later versions write them", () => {
    const values = { "done-date": undefined, done_date: 1_800_000_001, "seeding-time-seconds": undefined }
    const torrent = Result.getOrThrow(withValues(season, { ...values, seeding_time_seconds: 9 }))

    assert.strictEqual(torrent.imported.completedAtMillis, 1_800_000_001_000)
    assert.strictEqual(torrent.imported.statistics?.seedingMillis, 9_000)
  })

  it("takes a piece as stored only if all of its blocks are", () => {
    // Four pieces of two blocks; the last one has one block.
    const torrent = CreateTorrent.encode({
      name: "two",
      files: [{ path: [], length: 7 * 16_384 }],
      pieceLength: 32_768,
      digests: new Uint8Array(80)
    })
    const files = { resume: half.resume, source: { torrent } }
    const hint = (blocks: Bencode.Encodable) =>
      Result.getOrThrow(withValues(files, { progress: { blocks } })).imported.hintedPieces

    assert.deepStrictEqual(hint(Uint8Array.of(0b1101_1010)), Uint8Array.of(0b1001_0000))
    assert.deepStrictEqual(hint("none"), Uint8Array.of(0))
    assert.deepStrictEqual(hint("all"), Uint8Array.of(0b1111_0000))
    assert.isUndefined(hint(new Uint8Array(5)))
    assert.isUndefined(hint(7))
  })

  it("says what it does not take over", () => {
    const torrent = Result.getOrThrow(
      withValues(season, {
        "idle-limit": { "idle-limit": 30, "idle-mode": 1 },
        "bandwidth-priority": 1,
        group: "fast",
        dnd: [0],
        progress: {}
      })
    )

    assert.deepStrictEqual([torrent.files, torrent.imported.hintedPieces], [undefined, undefined])
    assert.deepStrictEqual(torrent.notes, [
      "The limit of 30m without uploads is not taken over.",
      "Its priority among torrents is not taken over.",
      "Its bandwidth group is not taken over.",
      "It does not say which pieces are stored, so its files are verified first.",
      "Its priorities are of another number of files, so all files are wanted."
    ])
  })

  it("takes nothing over of a torrent that does not say where its files are", () => {
    const why = (values: { readonly [key: string]: Bencode.Encodable | undefined }) => {
      const result = withValues(season, values)
      return Result.isFailure(result) ? result.failure.why : "it is read"
    }

    assert.match(why({ destination: undefined }), /does not say where/)
    assert.match(why({ destination: "films" }), /in films, which is relative/)
  })

  it("never throws, whatever is in the files", () => {
    const damage = fc.record({ at: fc.nat(season.resume.length - 1), byte: fc.nat(255), length: fc.nat(1_000) })
    fc.assert(
      fc.property(damage, ({ at, byte, length }) => {
        const resume = season.resume.slice(0, Math.max(length, at + 1))
        resume[at] = byte
        TransmissionSession.decode({ ...season, resume })
      }),
      { numRuns: 500 }
    )
  })
})
