/**
 * How long a torrent uploads after everything that is wanted is stored. Pure.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/** Seeding ends when the first goal is reached. Without any it goes on until the torrent stops. */
export interface SeedingGoal {
  /**
   * Payload bytes uploaded in this run, divided by the bytes that are wanted. With 1, as many bytes were uploaded as
   * are wanted. Uploads of earlier runs do not count. Positive; default no such goal.
   */
  readonly ratio?: number | undefined
  /** Time since everything that is wanted was stored, in this run. Default no such goal. */
  readonly time?: Duration.Input | undefined
}

/** The schema of a goal. Its time is a `Duration`, which a goal may be made of in other ways too. */
export const SeedingGoal = Schema.Struct({
  ratio: Schema.optional(Schema.Finite.check(Schema.isGreaterThan(0))),
  time: Schema.optional(Schema.Duration)
})

/** Uploaded bytes as a multiple of the wanted ones. */
export const ratioOf = (uploadedBytes: number, wantedBytes: number): number =>
  wantedBytes === 0 ? 0 : uploadedBytes / wantedBytes

/**
 * Which part of the goal is reached; `undefined` if none is. `seedingMillis` counts from when everything was stored.
 */
export const reached = (
  self: SeedingGoal,
  facts: { readonly uploadedBytes: number; readonly wantedBytes: number; readonly seedingMillis: number }
): "ratio" | "time" | undefined => {
  if (self.ratio !== undefined && ratioOf(facts.uploadedBytes, facts.wantedBytes) >= self.ratio) return "ratio"
  if (self.time !== undefined && facts.seedingMillis >= Duration.toMillis(self.time)) return "time"
  return undefined
}
