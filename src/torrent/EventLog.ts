/**
 * Keeps the events of a torrent for its readers. A reader that begins late still receives the last events, and a slow
 * reader misses the oldest. Reporting an event never waits.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
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

/** Makes an empty log. The end of the scope ends every reader. */
export const make = Effect.gen(function* () {
  const published = yield* Effect.acquireRelease(PubSub.sliding<TorrentEvent>({ capacity, replay }), PubSub.shutdown)
  const self: EventLog = {
    report: (event) => {
      // A full reader makes this fail. The effect drops that reader's oldest event instead; it never waits.
      if (!PubSub.publishUnsafe(published, event)) Effect.runSync(PubSub.publish(published, event))
    },
    events: Stream.fromPubSub(published)
  }
  return self
})
