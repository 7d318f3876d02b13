/**
 * The events of a torrent, kept for its readers: one that begins late still gets the last events, and one that is slow misses
 * the oldest. Whoever reports an event never waits.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { TorrentEvent } from "./TorrentEvent.ts"

/** Events that wait for a slow reader; beyond that it misses the oldest. */
export const capacity = 8_192

/** Events that a reader who comes later still gets. */
export const replay = 1_024

/** The events of one torrent. */
export interface EventLog {
  readonly tell: (event: TorrentEvent) => void
  readonly events: Stream.Stream<TorrentEvent>
}

/** Keeps events until the scope closes, which ends every reader. */
export const make = Effect.gen(function* () {
  const told = yield* Effect.acquireRelease(PubSub.sliding<TorrentEvent>({ capacity, replay }), PubSub.shutdown)
  const self: EventLog = {
    tell: (event) => {
      // If a reader is full, this drops the event. Only the effect drops that reader's oldest event instead; it never waits.
      if (!PubSub.publishUnsafe(told, event)) Effect.runSync(PubSub.publish(told, event))
    },
    events: Stream.fromPubSub(told)
  }
  return self
})
