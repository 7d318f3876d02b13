/**
 * The failure of a peer that the policy of the engine does not want (`swarm/PeerPolicy.ts`).
 */
import * as Data from "effect/Data"

/** The policy does not admit the peer, by its address, its id or its client. `why` is the end of a sentence. */
export class NotAdmitted extends Data.TaggedError("NotAdmitted")<{}> {
  readonly why = "the peer policy does not admit it"
  override get message() {
    return this.why
  }
}
