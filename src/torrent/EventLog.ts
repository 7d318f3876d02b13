/**
 * Keeps events, of a torrent or of an engine, for their readers. A reader that begins late still receives the last events, and a slow
 * reader misses the oldest. Reporting an event never waits.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as MutableList from "effect/MutableList"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"

/** How many events wait for a slow reader. Beyond that it misses the oldest. */
export const capacity = 8_192

/** How many past events a new reader receives. */
export const replay = 1_024

/** What waits for one reader. */
interface Reader<A> {
  readonly waiting: MutableList.MutableList<A>
  readonly awake: Latch.Latch
}

/** The events of one torrent or engine. */
export interface EventLog<A> {
  /** The last events: at least `kept` of them if there were as many, and less than twice as many. */
  readonly past: Array<A>
  /** How many past events are kept for later readers. */
  readonly kept: number
  readonly readers: Array<Reader<A>>
  isOver: boolean
}

/**
 * Makes an empty log. Takes memory only for events that there were: a torrent that rests has few, and engines have
 * thousands of such torrents.
 */
export const make = <A>(kept = replay): EventLog<A> => ({ past: [], kept, readers: [], isOver: false })

/** Reports an event. */
export const report = <A>({ kept, past, readers }: EventLog<A>, event: A): void => {
  if (kept > 0 && past.push(event) === 2 * kept) past.splice(0, kept)
  for (const { awake, waiting } of readers) {
    MutableList.append(waiting, event)
    if (waiting.length > capacity) MutableList.take(waiting)
    Latch.openUnsafe(awake)
  }
}

/** Ends every reader once it has read what waits for it. */
export const end = <A>(self: EventLog<A>): void => {
  self.isOver = true
  for (const { awake } of self.readers) Latch.openUnsafe(awake)
}

/** The last events, or what `first` returns instead of them, and then new ones. */
export const events = <A>(self: EventLog<A>, first?: () => ReadonlyArray<A>): Stream.Stream<A> =>
  Stream.unwrap(Effect.map(subscribe(self, first), (reader) => Stream.fromPull(Effect.succeed(pullFrom(self, reader)))))

const subscribe = <A>({ kept, past, readers }: EventLog<A>, first?: () => ReadonlyArray<A>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const reader: Reader<A> = { waiting: MutableList.make(), awake: Latch.makeUnsafe(true) }
      MutableList.appendAll(reader.waiting, first === undefined ? past.slice(-kept) : first())
      readers.push(reader)
      return reader
    }),
    (reader) => Effect.sync(() => readers.splice(readers.indexOf(reader), 1))
  )

const pullFrom = <A>(self: EventLog<A>, reader: Reader<A>): Pull.Pull<Arr.NonEmptyReadonlyArray<A>> =>
  Effect.suspend(() => {
    const events = MutableList.takeAll(reader.waiting)
    if (Arr.isArrayNonEmpty(events)) return Effect.succeed(events)
    if (self.isOver) return Cause.done()
    Latch.closeUnsafe(reader.awake)
    // A latch runs its fiber within the call that opens it. After a yield, events reported together are read together.
    return reader.awake.await.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(pullFrom(self, reader)))
  })
