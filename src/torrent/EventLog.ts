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

/** What waits for one reader. */
interface Reader {
  readonly waiting: MutableList.MutableList<TorrentEvent>
  readonly awake: Latch.Latch
}

/** The events of one torrent. */
export interface EventLog {
  /** The last events: at least `replay` of them if there were as many, and less than twice as many. */
  readonly past: Array<TorrentEvent>
  readonly readers: Array<Reader>
  isOver: boolean
}

/**
 * Makes an empty log. Takes memory only for events that there were: a torrent that rests has few, and engines have
 * thousands of such torrents.
 */
export const make = (): EventLog => ({ past: [], readers: [], isOver: false })

/** Reports an event. */
export const report = ({ past, readers }: EventLog, event: TorrentEvent): void => {
  if (past.push(event) === 2 * replay) past.splice(0, replay)
  for (const { awake, waiting } of readers) {
    MutableList.append(waiting, event)
    if (waiting.length > capacity) MutableList.take(waiting)
    Latch.openUnsafe(awake)
  }
}

/** Ends every reader once it has read what waits for it. */
export const end = (self: EventLog): void => {
  self.isOver = true
  for (const { awake } of self.readers) Latch.openUnsafe(awake)
}

/** The last events, and then new ones. */
export const events = (self: EventLog): Stream.Stream<TorrentEvent> =>
  Stream.unwrap(Effect.map(subscribe(self), (reader) => Stream.fromPull(Effect.succeed(pullFrom(self, reader)))))

const subscribe = ({ past, readers }: EventLog) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const reader: Reader = { waiting: MutableList.make(), awake: Latch.makeUnsafe(true) }
      MutableList.appendAll(reader.waiting, past.slice(-replay))
      readers.push(reader)
      return reader
    }),
    (reader) => Effect.sync(() => readers.splice(readers.indexOf(reader), 1))
  )

const pullFrom = (self: EventLog, reader: Reader): Pull.Pull<Arr.NonEmptyReadonlyArray<TorrentEvent>> =>
  Effect.suspend(() => {
    const events = MutableList.takeAll(reader.waiting)
    if (Arr.isArrayNonEmpty(events)) return Effect.succeed(events)
    if (self.isOver) return Cause.done()
    Latch.closeUnsafe(reader.awake)
    // A latch runs its fiber within the call that opens it. After a yield, events reported together are read together.
    return reader.awake.await.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(pullFrom(self, reader)))
  })
