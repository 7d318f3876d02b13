/**
 * The events of a session, numbered in their order, so that a reader that lost its connection goes on where it was, and
 * learns if it missed some. Plain code, except the streams.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as EventLog from "../torrent/EventLog.ts"
import * as RunNumber from "./RunNumber.ts"
import type { EventId, EventsMissed, SessionEvent } from "./SessionStatus.ts"

/** The events of one run. */
export interface SessionEvents {
  readonly run: string
  /** The number of the last event; 0 if there was none. */
  last: number
  readonly log: EventLog.EventLog<SessionEvent>
}

/** Makes it without events. `run` is a text without a dot. */
export const make = (run: string): SessionEvents => ({ run, last: 0, log: EventLog.make() })

/** Reports an event. */
export const report = (self: SessionEvents, event: Omit<SessionEvent, "id">): void =>
  EventLog.report(self.log, { id: RunNumber.textOf(self.run, ++self.last), ...event })

/** The id of the last event, or of the moment before the first one. */
export const lastId = ({ last, run }: SessionEvents): EventId => RunNumber.textOf(run, last)

const missed = (self: SessionEvents, number: number): EventsMissed => ({
  id: RunNumber.textOf(self.run, number),
  event: { _tag: "Missed" }
})

/** What followed an event, and what happens from then on; without an id only the latter. See `Session.eventsSince`. */
export const since = (self: SessionEvents, id: EventId | undefined): Stream.Stream<SessionEvent | EventsMissed> =>
  Stream.unwrap(
    Effect.sync(() => {
      const asked = id === undefined ? self.last : RunNumber.numberIn(self.run, id, self.last)
      const events = EventLog.events<SessionEvent, EventsMissed>(self.log, () => following(self, asked))
      return Stream.mapAccum(
        events,
        () => asked ?? self.last,
        (number, event) => {
          const own = RunNumber.numberIn(self.run, event.id, self.last)!
          // A reader that lags misses the oldest of those that wait for it.
          const isNext = own <= number + 1 || event.event._tag === "Missed"
          return [own, isNext ? [event] : [missed(self, own - 1), event]] as const
        }
      )
    })
  )

/** The events after a number, or that some of them are not kept. */
const following = (self: SessionEvents, number: number | undefined): ReadonlyArray<SessionEvent | EventsMissed> => {
  const { past } = self.log
  const count = number === undefined ? Number.POSITIVE_INFINITY : self.last - number
  return count > past.length ? [missed(self, self.last)] : past.slice(past.length - count)
}
