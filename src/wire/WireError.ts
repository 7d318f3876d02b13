/**
 * The failure of every peer wire codec. A peer that breaks the protocol is an expected failure: it ends one session.
 */
import * as Schema from "effect/Schema"

/**
 * The peer sent bytes that the wire protocol does not allow. `why` ends a sentence: `a have of 3 bytes instead of 5`.
 * `isFlood`: each of its messages is allowed, but it sent them without end.
 */
export class WireError extends Schema.TaggedError<WireError>()("piecewise/WireError", {
  why: Schema.String,
  isFlood: Schema.optional(Schema.Boolean)
}) {
  override get message() {
    return `The peer broke the wire protocol: ${this.why}.`
  }
}
