import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TorrentFields from "../../../src/control/transmission/TorrentFields.ts"
import * as TorrentView from "../../../src/control/transmission/TorrentView.ts"
import * as MemorySessionStore from "../../../src/session/provider/memory/MemorySessionStore.ts"
import { StoreUnavailable } from "../../../src/session/SessionStore.ts"
import { fileOf, session, test } from "../../session/sessions.ts"
import { small } from "../../simulation/torrents.ts"

const basisOf = (status: TorrentView.Basis["status"]): TorrentView.Basis => ({
  id: 1,
  status,
  place: 0,
  directory: "/",
  now: 0,
  transferredMillisAgo: undefined
})

describe("TorrentView", () => {
  test(
    "is nothing of a torrent that was removed meanwhile",
    session((session) =>
      Effect.gen(function* () {
        const torrent = yield* session.add(fileOf(small), { isPaused: true })
        const basis = basisOf(yield* torrent.status)
        yield* torrent.remove({ data: false })

        assert.deepStrictEqual(yield* TorrentView.read(session, basis, new Set(["files"])), Option.none())
      })
    )
  )

  test(
    "says why a torrent cannot be read, as its error",
    session((session) =>
      Effect.gen(function* () {
        const torrent = yield* session.add(fileOf(small), { isPaused: true })
        const basis = basisOf(yield* torrent.status)
        const store = yield* MemorySessionStore.MemorySessionStore
        store.fail(new StoreUnavailable({ path: "session.db", why: "no such luck" }))
        const view = Option.getOrThrow(yield* TorrentView.read(session, basis, new Set(["files", "metainfo"])))
        store.fail(undefined)
        const known = TorrentFields.known(["error", "errorString", "files", "name"])

        assert.deepStrictEqual(TorrentFields.toObject(known, view), {
          error: 3,
          errorString: "session.db: no such luck",
          files: [],
          name: "known"
        })
      })
    )
  )
})
