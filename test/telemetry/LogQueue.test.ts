import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as LogQueue from "../../src/telemetry/LogQueue.ts"
import type { Entry } from "../../src/telemetry/TorrentLog.ts"
import * as Observed from "./observed.ts"

const entry = (piece: number): Entry => ({ level: "Warn", message: "a piece", annotations: { piece } })

const pass = Effect.repeat(Effect.yieldNow, { times: 5 })

describe("LogQueue", () => {
  it.effect("logs entries soon after they were added, with the loggers and annotations of their torrents", () =>
    Effect.gen(function* () {
      const queue = LogQueue.make()
      const [first, second] = [Observed.make(), Observed.make()]
      const contextOf = ({ within }: typeof first, torrent: string) =>
        within(Effect.annotateLogs(Effect.context<never>(), { torrent }))
      const [one, other] = [yield* contextOf(first, "one"), yield* contextOf(second, "other")]
      yield* LogQueue.run(queue)

      LogQueue.add(queue, entry(1), one)
      LogQueue.add(queue, entry(2), other)
      const atOnce = first.logs.length
      yield* pass

      assert.strictEqual(atOnce, 0)
      assert.deepStrictEqual(
        [first, second].map(({ logs }) => logs.map(({ annotations }) => annotations)),
        [[{ torrent: "one", piece: 1 }], [{ torrent: "other", piece: 2 }]]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("keeps the latest of too many, and logs what is left when it is flushed", () =>
    Effect.gen(function* () {
      const queue = LogQueue.make()
      const { logs, within } = Observed.make()
      const context = yield* within(Effect.context<never>())
      for (let piece = 0; piece < LogQueue.capacity + 5; piece++) LogQueue.add(queue, entry(piece), context)

      yield* LogQueue.flush(queue)
      yield* LogQueue.flush(queue)

      assert.strictEqual(logs.length, LogQueue.capacity)
      assert.deepStrictEqual(logs[0]?.annotations, { piece: 5 })
    })
  )
})
