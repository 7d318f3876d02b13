import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as SessionEvents from "../../src/session/SessionEvents.ts"
import type { EventsMissed, SessionEvent } from "../../src/session/SessionStatus.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"
import * as EventLog from "../../src/torrent/EventLog.ts"

const { hashOf } = SessionDrawing

const reportMany = (self: SessionEvents.SessionEvents, count: number): void => {
  for (let turn = 0; turn < count; turn++) {
    SessionEvents.report(self, { infoHash: hashOf(1), event: { _tag: "Completed" } })
  }
}

const draw = ({ event, id }: SessionEvent | EventsMissed): string => (event._tag === "Missed" ? `missed ${id}` : id)

/** What a reader has read, once it has read `count` items and after what happens in the meantime. */
const read = (self: SessionEvents.SessionEvents, id: string | undefined, count: number, meanwhile = () => {}) =>
  Effect.gen(function* () {
    const reading = Stream.runCollect(Stream.take(SessionEvents.since(self, id), count))
    const fiber = yield* Effect.forkChild(reading, { startImmediately: true })
    meanwhile()
    return (yield* Fiber.join(fiber)).map(draw)
  })

describe("SessionEvents", () => {
  it.effect("go on after the event with an id, without a gap between what was and what comes", () =>
    Effect.gen(function* () {
      const self = SessionEvents.make("run")
      reportMany(self, 4)
      const seen = yield* read(self, "run.2", 4, () => reportMany(self, 2))

      assert.deepStrictEqual(seen, ["run.3", "run.4", "run.5", "run.6"])
      assert.deepStrictEqual(
        [SessionEvents.lastId(self), SessionEvents.lastId(SessionEvents.make("b"))],
        ["run.6", "b.0"]
      )
    })
  )

  it.effect("begin with what happens next without an id, and with that of the last one", () =>
    Effect.gen(function* () {
      const self = SessionEvents.make("run")
      reportMany(self, 2)
      const without = yield* read(self, undefined, 1, () => reportMany(self, 1))
      const last = yield* read(self, SessionEvents.lastId(self), 1, () => reportMany(self, 1))

      assert.deepStrictEqual([without, last], [["run.3"], ["run.4"]])
    })
  )

  it.effect("say that some are missing, to whoever asks with an id of another run, of the future, or with no id", () =>
    Effect.gen(function* () {
      const self = SessionEvents.make("run")
      reportMany(self, 3)
      for (const id of ["old.2", "run.9", "run", "run.-1", "run.1.5", "run.1e0", "", "run.999999999999999999"]) {
        const before = self.last
        const seen = yield* read(self, id, 2, () => reportMany(self, 1))

        assert.deepStrictEqual(seen, [`missed run.${before}`, `run.${before + 1}`], id)
      }
    })
  )

  it.effect("know an id for as long as everything after it is kept", () =>
    Effect.gen(function* () {
      const self = SessionEvents.make("run")
      const count = 2 * EventLog.replay + 5
      reportMany(self, count)
      const kept = self.log.past.length
      const known = yield* read(self, `run.${count - kept}`, kept)
      const [unknown] = yield* read(self, `run.${count - kept - 1}`, 1)

      assert.isAtLeast(kept, EventLog.replay)
      assert.deepStrictEqual([known[0], known.at(-1)], [`run.${count - kept + 1}`, `run.${count}`])
      assert.strictEqual(unknown, `missed run.${count}`)
    })
  )

  it.effect("say in the midst what a slow reader has missed, and after which event it goes on", () =>
    Effect.gen(function* () {
      const self = SessionEvents.make("run")
      const count = EventLog.capacity + 3
      const seen = yield* read(self, "run.0", 3, () => reportMany(self, count))

      assert.deepStrictEqual(seen, ["missed run.3", "run.4", "run.5"])
    })
  )
})
