/**
 * What a web seed did wrong. `why` is the end of a sentence, and shows nothing secret.
 *
 * - `Unreachable`: no connection, or it ended early, or the server failed (5xx).
 * - `Busy`: the server wants us to come later (503, 429), after `retryAfter` milliseconds if it says so.
 * - `Slow`: it sends nothing, or too little.
 * - `Missing`: it does not have a file (4xx), or its file has another length. The seed may have other files.
 * - `Strange`: its answer is not what was asked for.
 * - `Wrong`: it sent bytes of a piece that another source sent right.
 * - `Forbidden`: its URL, or what it redirects to, is a place to which a torrent must not send us.
 */
import * as Data from "effect/Data"

/** What went wrong. */
export type Kind = "Unreachable" | "Busy" | "Slow" | "Missing" | "Strange" | "Wrong" | "Forbidden"

/** A fault of a web seed. */
export class SeedFault extends Data.TaggedError("SeedFault")<{
  readonly kind: Kind
  readonly why: string
  /** Milliseconds. */
  readonly retryAfter?: number | undefined
}> {
  override get message() {
    return this.why
  }
}

/** Makes a fault. */
export const make = (kind: Kind, why: string, retryAfter?: number): SeedFault =>
  new SeedFault({ kind, why, retryAfter })
