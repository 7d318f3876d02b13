import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Engine } from "../../src/engine/Engine.ts"
import type * as Session from "../../src/session/Session.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { small } from "../simulation/torrents.ts"
import { fileOf, session, test, until } from "./sessions.ts"

const rate = 10_000

/** Bytes that all torrents receive in so many seconds. */
const receivedIn = Effect.fnUntraced(function* (session: Session.Session["Service"], seconds: number) {
  const received = Effect.map(session.list, ({ torrents }) =>
    torrents.reduce((total, { statistics }) => total + statistics.downloadedBytes, 0)
  )
  const before = yield* received
  yield* Effect.sleep(seconds * 1_000)
  return (yield* received) - before
})

describe("the limits of a session", () => {
  test(
    "hold the rates of all torrents together, also in the next run, until they are lifted",
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.setLimits({ downloads: 3, downloadBytesPerSecond: rate })
          yield* session.add(fileOf(small))
          assert.isAtMost(yield* receivedIn(session, 10), 12 * rate)
        })
      )
      // What an engine has that is made anew.
      yield* Engine.use(({ setLimits }) => setLimits({}))

      yield* session((session) =>
        Effect.gen(function* () {
          const received = yield* receivedIn(session, 10)
          assert.deepStrictEqual(yield* session.limits, { downloads: 3, downloadBytesPerSecond: rate })
          yield* session.setLimits({ downloads: 3 })
          const torrent = yield* session.get(small.metainfo.infoHash)

          assert.isAtMost(received, 12 * rate)
          assert.isAbove(received, rate)
          yield* Effect.timeout(until(torrent, "Active Complete"), "10 seconds")
        })
      )
    })
  )

  test(
    "leave the rates that the engine was made with, if none was set",
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
      yield* Engine.use(({ setLimits }) => setLimits({ downloadBytesPerSecond: rate }))
      yield* session((session) => session.setLimits({ downloads: 3 }))
      yield* Engine.use(({ setLimits }) => setLimits({ downloadBytesPerSecond: rate }))
      const received = yield* session((session) => Effect.andThen(session.add(fileOf(small)), receivedIn(session, 10)))

      assert.isAtMost(received, 12 * rate)
    })
  )
})
