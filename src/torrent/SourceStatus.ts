/**
 * How a source of peers is doing.
 */
import * as Schema from "effect/Schema"
import type { PeerSourceEvent } from "../discovery/PeerSource.ts"

/** The schema of how a source of peers is doing. Counts are those of its last answer. */
export const SourceStatus = Schema.Struct({
  /** Its name, as in events: the URL of a tracker. */
  source: Schema.String,
  /** Milliseconds since it reported last, an answer or a failure. */
  reportedMillisAgo: Schema.Natural,
  /** Whether it ever answered. If not, `peers` is 0. */
  hasAnswered: Schema.Boolean,
  /** Why it failed since; absent if its last attempt succeeded. The end of a sentence. */
  failure: Schema.optional(Schema.String),
  /** How many addresses it named. */
  peers: Schema.Natural,
  /** How many peers have everything, and how many do not; absent if it did not say. */
  seeders: Schema.optional(Schema.Natural),
  leechers: Schema.optional(Schema.Natural),
  /** What it wants the user to know. A claim of a stranger. */
  warning: Schema.optional(Schema.String)
})

/** How a source of peers is doing. */
export type SourceStatus = typeof SourceStatus.Type

/** What is remembered of a source: its last report, at a time in milliseconds of elapsed time. */
export interface SourceReport extends Omit<SourceStatus, "source" | "reportedMillisAgo"> {
  readonly at: number
}

/** What is remembered after a source has reported something. `before` is what was. */
export const after = (before: SourceReport | undefined, event: PeerSourceEvent, at: number): SourceReport => {
  if (event._tag === "Failed") return { peers: 0, hasAnswered: false, ...before, at, failure: event.why }
  const { addresses, leechers, seeders, warning } = event
  return { at, hasAnswered: true, peers: addresses.length, seeders, leechers, warning }
}

/** The status of a source at `now`. */
export const of = (source: string, { at, ...report }: SourceReport, now: number): SourceStatus => ({
  ...report,
  source,
  reportedMillisAgo: Math.max(0, Math.round(now - at))
})
