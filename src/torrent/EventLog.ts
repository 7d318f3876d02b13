/**
 * Keeps the events of a torrent for its readers. A reader that begins late still receives the last events, and a slow
 * reader misses the oldest. Reporting an event never waits.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
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

/**
 * Makes an empty log. The end of the scope ends every reader. Takes memory only for events that there were: a torrent
 * that rests has few, and engines have thousands of such torrents.
 */
export const make = Effect.gen(function* () {
  /** The last events: at least `replay` of them, and less than twice as many. */
  const past: Array<TorrentEvent> = []
  const readers = new Set<Queue.Queue<TorrentEvent, Cause.Done>>()
  let isOver = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isOver = true
      for (const reader of readers) Queue.endUnsafe(reader)
    })
  )
  // A full queue of a reader drops its oldest event.
  const subscribe = Effect.acquireRelease(
    Effect.map(Queue.sliding<TorrentEvent, Cause.Done>(capacity), (reader) => {
      for (const event of past.slice(-replay)) Queue.offerUnsafe(reader, event)
      if (isOver) Queue.endUnsafe(reader)
      else readers.add(reader)
      return reader
    }),
    (reader) =>
      Effect.andThen(
        Effect.sync(() => readers.delete(reader)),
        Queue.shutdown(reader)
      )
  )
  const self: EventLog = {
    report: (event) => {
      if (past.push(event) === 2 * replay) past.splice(0, replay)
      for (const reader of readers) Queue.offerUnsafe(reader, event)
    },
    events: Stream.unwrap(Effect.map(subscribe, Stream.fromQueue))
  }
  return self
})
