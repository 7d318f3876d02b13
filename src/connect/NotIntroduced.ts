/**
 * Why a connection did not become a known peer, if the peer broke no rule of the wire protocol.
 */
import * as Data from "effect/Data"

const reasons = {
  late: "no handshake within 10 seconds",
  closed: "it closed the connection",
  "other torrent": "it serves another torrent",
  "not encrypted": "it does not encrypt, which is required here",
  "answered in plain": "it answered an encrypted handshake with a plain one",
  "degenerate key": "its encryption key is degenerate",
  "no mark": "its encryption handshake has more padding than is allowed",
  "bad mark": "its encryption handshake is not for the torrent that it names",
  "long padding": "its encryption handshake names more padding than is allowed",
  "bad method": "it chose a method of encryption that we did not offer",
  "no method": "it offers no method of encryption that we allow",
  "unknown torrent": "it asks for a torrent that does not run here"
}

/**
 * The peer sent no handshake, one of another torrent, or none with an encryption that is allowed. `why` is the end of a
 * sentence: the reason, and the `hint` at its cause, if there is one.
 */
export class NotIntroduced extends Data.TaggedError("NotIntroduced")<{
  readonly reason: keyof typeof reasons
  readonly hint?: string | undefined
}> {
  get why() {
    return this.hint === undefined ? reasons[this.reason] : `${reasons[this.reason]}; ${this.hint}`
  }
  override get message() {
    return this.why
  }
}
