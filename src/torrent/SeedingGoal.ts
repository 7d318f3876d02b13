/**
 * Until when a torrent is given to others once everything that is wanted is stored. Pure.
 */
import * as Duration from "effect/Duration"

/** It ends with whichever comes first; without either it never does. */
export interface SeedingGoal {
  /**
   * Payload bytes given since the torrent was started, as a multiple of the bytes that are wanted: with 1, others have
   * had as much as we. Those of earlier runs are not known. Positive.
   */
  readonly ratio?: number | undefined
  /** Time since everything that is wanted was stored, in this run. */
  readonly time?: Duration.Input | undefined
}

/** Given bytes as a multiple of the wanted ones. */
export const ratioOf = (uploadedBytes: number, wantedBytes: number): number =>
  wantedBytes === 0 ? 0 : uploadedBytes / wantedBytes

/** What of the goal is reached; `undefined` for nothing. `seedingMillis` counts from when everything was stored. */
export const reached = (
  self: SeedingGoal,
  facts: { readonly uploadedBytes: number; readonly wantedBytes: number; readonly seedingMillis: number }
): "ratio" | "time" | undefined => {
  if (self.ratio !== undefined && ratioOf(facts.uploadedBytes, facts.wantedBytes) >= self.ratio) return "ratio"
  if (self.time !== undefined && facts.seedingMillis >= Duration.toMillis(self.time)) return "time"
  return undefined
}
