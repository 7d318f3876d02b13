/**
 * Keeps the events of a torrent for its readers. A reader that begins late still receives the last events, and a slow
 * reader misses the oldest. Reporting an event never waits.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as MutableList from "effect/MutableList"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { TorrentEvent } from "./TorrentEvent.ts"

/** How many events wait for a slow reader. Beyond that it misses the oldest. */
export const capacity = 8_192

/** How many past events a new reader receives. */
export const replay = 1_024

/** The events of one torrent. */
export interface EventLog {
  readonly report: (event: TorrentEvent) => void
  readonly events: Stream.Stream<TorrentEvent>
}

/** What waits for one reader. */
interface Reader {
  readonly waiting: MutableList.MutableList<TorrentEvent>
  readonly awake: Latch.Latch
}

/**
 * Makes an empty log. The end of the scope ends every reader. Takes memory only for events that there were: a torrent
 * that rests has few, and engines have thousands of such torrents.
 */
export const make = Effect.gen(function* () {
  /** The last events: at least `replay` of them, and less than twice as many. */
  const past: Array<TorrentEvent> = []
  const readers = new Set<Reader>()
  let isOver = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isOver = true
      for (const { awake } of readers) Latch.openUnsafe(awake)
    })
  )
  const subscribe = Effect.acquireRelease(
    Effect.sync(() => {
      const reader: Reader = { waiting: MutableList.make(), awake: Latch.makeUnsafe(true) }
      MutableList.appendAll(reader.waiting, past.slice(-replay))
      readers.add(reader)
      return reader
    }),
    (reader) => Effect.sync(() => readers.delete(reader))
  )
  const pullFrom = (reader: Reader): Pull.Pull<Arr.NonEmptyReadonlyArray<TorrentEvent>> =>
    Effect.suspend(() => {
      const events = MutableList.takeAll(reader.waiting)
      if (Arr.isArrayNonEmpty(events)) return Effect.succeed(events)
      if (isOver) return Cause.done()
      Latch.closeUnsafe(reader.awake)
      // A latch runs its fiber within the call that opens it. After a yield, events reported together are read together.
      return reader.awake.await.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(pullFrom(reader)))
    })
  const self: EventLog = {
    report: (event) => {
      if (past.push(event) === 2 * replay) past.splice(0, replay)
      for (const { awake, waiting } of readers) {
        MutableList.append(waiting, event)
        if (waiting.length > capacity) MutableList.take(waiting)
        Latch.openUnsafe(awake)
      }
    },
    events: Stream.unwrap(Effect.map(subscribe, (reader) => Stream.fromPull(Effect.succeed(pullFrom(reader)))))
  }
  return self
})
