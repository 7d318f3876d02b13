import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as Imported from "../../src/session/Imported.ts"
import { SessionStore } from "../../src/session/SessionStore.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { other, small } from "../simulation/torrents.ts"
import { fileOf, session, statesOf, test, until } from "./sessions.ts"

const { infoHash, layout } = small.metainfo
const { pieceCount, totalLength } = layout.geometry
const hintedPieces = Bitfield.full(pieceCount).bytes

/** Puts the files of a torrent where another client has left them. */
const leave = (known: KnownTorrent, wrong: ReadonlyArray<number> = []) =>
  TestEngine.TestEngine.useSync(({ medium }) => {
    const { layout } = known.metainfo
    for (const file of FileLayout.realFiles(layout)) {
      const bytes = known.fileContent(file).slice()
      for (const at of wrong) bytes[at]! ^= 1
      medium.put(FileLayout.pathOf(layout, file).join("/"), bytes)
    }
  })

const content = Effect.map(
  SessionStore.use(({ content }) => content(infoHash)),
  (found) => found!
)

describe("a torrent that another client has had", () => {
  test(
    "is a seed in the queue before anything is verified, and counts as complete only after that",
    Effect.gen(function* () {
      yield* leave(small)
      const { faults } = yield* TestEngine.TestEngine
      faults.delay("digest", "1 minute")
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.setLimits({ downloads: 0 })
          const torrent = yield* session.add(fileOf(small), { imported: { hintedPieces } })
          yield* until(torrent, "Active Flushing")
          const { completedAtMillis, hintedBytes, progress } = yield* torrent.status

          assert.deepStrictEqual([hintedBytes, progress?.missingBytes], [totalLength, totalLength])
          assert.isUndefined(completedAtMillis)
          assert.isDefined((yield* content).files.hintedPieces)
        })
      )
      faults.recover("digest")

      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(infoHash)
          yield* until(torrent, "Active Complete")
          yield* Effect.sleep("1 second")
          const { completedAtMillis, hintedBytes, progress, statistics } = yield* torrent.status

          assert.deepStrictEqual([hintedBytes, progress?.missingBytes, statistics.downloadedBytes], [undefined, 0, 0])
          assert.isDefined(completedAtMillis)
          assert.isUndefined((yield* content).files.hintedPieces)
        })
      )
    })
  )

  test(
    "is a download in the queue as soon as a piece turns out to be wrong",
    Effect.gen(function* () {
      yield* leave(small, [0])
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.setLimits({ downloads: 0 })
          const torrent = yield* session.add(fileOf(small), { imported: { hintedPieces } })
          yield* until(torrent, "Queued")
          yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
          yield* session.setLimits({})
          yield* until(torrent, "Active Complete")

          // A piece of each file.
          assert.strictEqual((yield* torrent.status).statistics.downloadedBytes, 2 * layout.geometry.pieceLength)
        })
      )
    })
  )

  test(
    "keeps what it has done there, and where its files are",
    Effect.gen(function* () {
      const { medium } = yield* TestEngine.TestEngine
      yield* leave(other)
      medium.move("other", "films/mine.bin")
      const statistics = { downloadedBytes: 7, uploadedBytes: 8, seedingMillis: 9 }
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(other), {
            imported: {
              renamed: [{ file: 0, path: ["films", "mine.bin"] }],
              hintedPieces: Bitfield.full(30).bytes,
              addedAtMillis: 1,
              completedAtMillis: 2,
              statistics
            }
          })
          yield* until(torrent, "Active Complete")
          yield* torrent.renameFile(0, ["films", "ours.bin"])
          const status = yield* torrent.status

          assert.deepStrictEqual(
            [status.addedAtMillis, status.completedAtMillis, status.statistics.uploadedBytes],
            [1, 2, 8]
          )
          assert.deepStrictEqual(medium.paths(), ["films/ours.bin"])
        })
      )
    })
  )

  test(
    "keeps its hint while a file is renamed",
    Effect.gen(function* () {
      yield* leave(small)
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(small), { isPaused: true, imported: { hintedPieces } })
          yield* torrent.renameFile(0, ["known", "mine.bin"])

          assert.deepStrictEqual((yield* content).files.hintedPieces, hintedPieces)
          assert.deepStrictEqual(yield* statesOf(session), ["Paused"])
        })
      )
    })
  )

  test(
    "is not added if its files cannot have their names",
    session((session) =>
      Effect.gen(function* () {
        const why = yield* Effect.forEach(
          [
            [{ file: 0, path: ["..", "a"] as const }],
            [{ file: 0, path: ["known", "b"] as const }],
            [{ file: 0, path: ["known", "b", "c.bin"] as const }],
            [{ file: 9, path: ["a"] as const }]
          ],
          (renamed) => Effect.flip(session.add(fileOf(small), { imported: { renamed } }))
        )

        assert.deepStrictEqual(
          why.map((error) => ("option" in error ? `${error.option}: ${error.why}` : error._tag)),
          [
            "imported.renamed: The name ../a is not safe.",
            "imported.renamed: A file cannot also be a folder.",
            "imported.renamed: Two files of the torrent have the same path.",
            "imported.renamed: There is no such file."
          ]
        )
        assert.deepStrictEqual(yield* statesOf(session), [])
      })
    )
  )
})

describe("Imported", () => {
  it("counts the bytes of wanted pieces that are hinted at", () => {
    const bytes = Imported.hintedBytes(small.metainfo, hintedPieces, ["skip", "normal", "normal"])

    // The eighth piece is shared.
    assert.strictEqual(bytes, totalLength - 7 * layout.geometry.pieceLength)
  })
})
