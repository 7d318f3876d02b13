/**
 * Keeps events, of a torrent or of an engine, for their readers. A reader that begins late still receives the last
 * events, and a slow reader misses the oldest. Reporting an event never waits.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as MutableList from "effect/MutableList"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** How many events wait for a slow reader. Beyond that it misses the oldest. */
export const capacity = 8_192

/** How many past events a new reader receives. */
export const replay = 1_024

/** One reader. Its functions are plain, and never wait. */
interface Reader<A> {
  /** Keeps an event, or what is wanted of it, for later. */
  readonly hear: (event: A) => void
  /** There will be no more events. */
  readonly end: () => void
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
  for (const reader of readers) reader.hear(event)
}

/** Ends every reader once it has read what waits for it. */
export const end = <A>(self: EventLog<A>): void => {
  self.isOver = true
  for (const reader of self.readers) reader.end()
}

/** Keeps what waits for a slow reader. */
const keep = <A>(waiting: MutableList.MutableList<A>, message: A): void => {
  MutableList.append(waiting, message)
  if (waiting.length > capacity) MutableList.take(waiting)
}

/** The last events, or what `first` returns instead of them, and then new ones. */
export const events = <A, B = never>(self: EventLog<A>, first?: () => ReadonlyArray<A | B>): Stream.Stream<A | B> =>
  Stream.unwrap(
    Effect.suspend(() => {
      const awake = Latch.makeUnsafe(true)
      const waiting = MutableList.make<A | B>()
      MutableList.appendAll(waiting, first === undefined ? self.past.slice(-self.kept) : first())
      const wake = () => void Latch.openUnsafe(awake)
      const hear = (event: A) => {
        keep(waiting, event)
        wake()
      }
      const pull = pullFrom(self, waiting, awake)
      return Effect.as(subscribe(self, { hear, end: wake }), Stream.fromPull(Effect.succeed(pull)))
    })
  )

/**
 * Calls `hear` with every event from now on, within the call that reports it. It must be plain and quick, and must not
 * throw.
 */
export const listen = <A>(self: EventLog<A>, hear: (event: A) => void): void => {
  self.readers.push({ hear, end: () => {} })
}

const subscribe = <A>({ readers }: EventLog<A>, reader: Reader<A>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => readers.push(reader)),
      () => Effect.sync(() => readers.splice(readers.indexOf(reader), 1))
    )
  )

const pullFrom = <A>(
  self: Pick<EventLog<unknown>, "isOver">,
  waiting: MutableList.MutableList<A>,
  awake: Latch.Latch
): Pull.Pull<Arr.NonEmptyReadonlyArray<A>> =>
  Effect.suspend(() => {
    const events = MutableList.takeAll(waiting)
    if (Arr.isArrayNonEmpty(events)) return Effect.succeed(events)
    if (self.isOver) return Cause.done()
    Latch.closeUnsafe(awake)
    // A latch runs its fiber within the call that opens it. After a yield, events reported together are read together.
    return awake.await.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(pullFrom(self, waiting, awake)))
  })
