import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as EventLog from "../../src/torrent/EventLog.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"

const numbers = (events: ReadonlyArray<TorrentEvent>) =>
  events.map((event) => (event._tag === "Checking" ? event.checkedPieces : -1))

const reportAll = (log: EventLog.EventLog<TorrentEvent>, from: number, to: number): void => {
  for (let index = from; index < to; index++)
    EventLog.report(log, { _tag: "Checking", checkedPieces: index, totalPieces: to })
}

describe("EventLog", () => {
  it.effect("gives a late reader the last events, and then new ones", () =>
    Effect.gen(function* () {
      const log = EventLog.make<TorrentEvent>()
      reportAll(log, 0, 2_000)
      const reader = yield* Effect.forkChild(
        Stream.runCollect(Stream.take(EventLog.events(log), EventLog.replay + 1)),
        {
          startImmediately: true
        }
      )
      yield* Effect.yieldNow
      reportAll(log, 2_000, 2_001)

      const heard = numbers(yield* Fiber.join(reader))

      assert.deepStrictEqual([heard[0], heard.at(-1)], [2_000 - EventLog.replay, 2_000])
    }).pipe(Effect.scoped)
  )

  it.effect("never waits for a slow reader, which misses the oldest events", () =>
    Effect.gen(function* () {
      const log = EventLog.make<TorrentEvent>()
      const pull = yield* Stream.toPull(EventLog.events(log))
      reportAll(log, 0, 1)
      const first = numbers(yield* pull)
      reportAll(log, 1, 1 + EventLog.capacity + 500)

      const rest = numbers(yield* pull)

      assert.deepStrictEqual(first, [0])
      assert.deepStrictEqual([rest[0], rest.at(-1)], [501, EventLog.capacity + 500])
    }).pipe(Effect.scoped)
  )

  it.effect("ends its readers when it ends", () =>
    Effect.gen(function* () {
      const log = EventLog.make<TorrentEvent>()
      const reader = yield* Effect.forkChild(Stream.runDrain(EventLog.events(log)), { startImmediately: true })
      yield* Effect.yieldNow

      EventLog.end(log)
      const exit = yield* Fiber.await(reader)
      reportAll(log, 0, 1)

      assert.isDefined(exit)
    })
  )

  it("lets somebody hear each event within the call that reports it, from then on", () => {
    const log = EventLog.make<TorrentEvent>()
    const heard: Array<TorrentEvent> = []
    reportAll(log, 0, 1)

    EventLog.listen(log, (event) => heard.push(event))
    reportAll(log, 1, 3)

    assert.deepStrictEqual(numbers(heard), [1, 2])
  })
})
