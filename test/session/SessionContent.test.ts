import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import type { SessionTorrent } from "../../src/session/Session.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { small } from "../simulation/torrents.ts"
import { fileOf, inEngine, session, test, until } from "./sessions.ts"

const { infoHash, layout } = small.metainfo
const link = { magnet: `magnet:?xt=urn:btih:${InfoHash.toHex(infoHash)}` }

const join = TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))

/** The paths of its files, the bytes that are stored of each, and how many pieces are stored. */
const read = Effect.fnUntraced(function* (torrent: SessionTorrent) {
  const files = (yield* torrent.files).map(({ path, priority, storedBytes }) => [path, priority, storedBytes])
  return { files, stored: (yield* torrent.stored).count }
})

describe("the content of a torrent of a session", () => {
  test(
    "is the same after it was paused, and in the next run",
    Effect.gen(function* () {
      yield* join
      const active = yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.add(fileOf(small), { files: ["high", "skip", "skip"] })
          yield* until(torrent, "Active Complete")
          const found = yield* read(torrent)
          yield* torrent.pause

          assert.deepStrictEqual([found, yield* inEngine], [yield* read(torrent), []])
          return found
        })
      )
      yield* session((session) =>
        Effect.gen(function* () {
          const torrent = yield* session.get(infoHash)
          const metainfo = Option.getOrThrow(yield* torrent.metainfo)

          assert.deepStrictEqual(yield* read(torrent), active)
          assert.deepStrictEqual([metainfo.infoHash, metainfo.name], [infoHash, small.metainfo.name])
        })
      )
      assert.isTrue(active.stored > 0 && active.stored < layout.geometry.pieceCount)
      assert.deepStrictEqual(active.files[0], ["known/a.bin", "high", layout.files[0]!.length])
    })
  )

  test(
    "has nothing stored of a torrent that never ran",
    session((session) =>
      Effect.gen(function* () {
        const torrent = yield* session.add(fileOf(small), { isPaused: true })

        assert.deepStrictEqual(yield* torrent.stored, Bitfield.make(layout.geometry.pieceCount))
        assert.deepStrictEqual(
          (yield* torrent.files).map(({ storedBytes }) => storedBytes),
          layout.files.map(() => 0)
        )
      })
    )
  )

  test(
    "has the paths that files were renamed to",
    session((session) =>
      Effect.gen(function* () {
        const torrent = yield* session.add(fileOf(small), { isPaused: true })
        yield* torrent.renameFile(0, ["known", "renamed.bin"])
        const metainfo = Option.getOrThrow(yield* torrent.metainfo)

        assert.strictEqual((yield* torrent.files)[0]!.path, "known/renamed.bin")
        assert.deepStrictEqual(metainfo.layout.files[0]!.path, ["known", "renamed.bin"])
      })
    )
  )

  test(
    "is empty while the metadata of a magnet link is not known",
    session((session) =>
      Effect.gen(function* () {
        const torrent = yield* session.add(link, { isPaused: true })
        const paused = [yield* torrent.metainfo, yield* torrent.files, yield* torrent.stored]
        yield* torrent.resume()
        yield* until(torrent, "Active FetchingMetadata")

        assert.deepStrictEqual(paused, [Option.none(), [], Bitfield.make(0)])
        assert.deepStrictEqual([yield* torrent.metainfo, yield* torrent.files, yield* torrent.stored], paused)
        yield* join
        yield* until(torrent, "Active Complete")
        assert.strictEqual(Option.getOrThrow(yield* torrent.metainfo).name, small.metainfo.name)
      })
    )
  )

  test(
    "cannot be read of a torrent that was removed",
    session((session) =>
      Effect.gen(function* () {
        const torrent = yield* session.add(fileOf(small), { isPaused: true })
        yield* torrent.remove({ data: false })
        const errors = [yield* Effect.flip(torrent.metainfo), yield* Effect.flip(torrent.files)]

        assert.deepStrictEqual(
          errors.map(({ _tag }) => _tag),
          ["piecewise/NotInSession", "piecewise/NotInSession"]
        )
      })
    )
  )
})
