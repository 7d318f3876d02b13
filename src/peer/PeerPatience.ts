/**
 * What is borne of a peer that breaks no rule or hardly one, and for how long: silence, rejects, blocks and requests that
 * nobody expected, and messages that it leaves unread. Plain counters and times of one connection, in milliseconds; whoever
 * is beyond them throws, which ends the connection.
 */
import * as Data from "effect/Data"
import { WireError } from "../wire/WireError.ts"

/** Unasked blocks that are borne before the peer is disconnected: a few cross with our cancels in any case. */
export const maxUnaskedBlocks = 64

/** Requests borne for pieces that we never said we have. */
export const maxWrongRequests = 64

/** Rejects in a row, without a block between them, after which the peer is of no use. */
export const maxRejects = 2_048

/** Rejects in a row from a peer that does not choke after which it counts as snubbed: it has held up two pieces. */
export const rejectsUntilSnubbed = 32

/** Milliseconds without a byte from the peer after which it is taken for gone: one keep-alive may get lost. */
export const silentAfter = 180_000

/** Milliseconds that a peer stays snubbed and unchoking before it is let go, so that its place is free for another. */
export const snubbedFor = 60_000

/** Milliseconds that a peer may leave unread what we send, and bytes that may wait for it meanwhile. */
export const blockedFor = 60_000
export const maxWaiting = 65_536

/** The peer broke no rule, but is of no use (any more). `why` is the end of a sentence. */
export class PeerDropped extends Data.TaggedError("PeerDropped")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** What one peer has used up. */
export interface PeerPatience {
  unaskedBlocks: number
  wrongRequests: number
  /** In a row. */
  rejects: number
  lastReceived: number
  /** Since when the connection takes no more to send; the session keeps it. */
  blockedSince: number | undefined
  /** Since when the peer is snubbed and does not choke. */
  snubbedSince: number | undefined
}

/** Nothing yet, at the time the handshake was done. */
export const make = (now: number): PeerPatience => ({
  unaskedBlocks: 0,
  wrongRequests: 0,
  rejects: 0,
  lastReceived: now,
  blockedSince: undefined,
  snubbedSince: undefined
})

/** A block came that nobody asked for. */
export const unaskedBlock = (self: PeerPatience): void => {
  if (++self.unaskedBlocks > maxUnaskedBlocks) throw new WireError({ why: "blocks nobody asked for" })
}

/** A request came for a piece that we never said we have. */
export const wrongRequest = (self: PeerPatience): void => {
  if (++self.wrongRequests > maxWrongRequests) throw new WireError({ why: "requests for pieces that nobody offered" })
}

/** A request was rejected; tells whether the peer counts as snubbed from now on, where it does not choke. */
export const reject = (self: PeerPatience): boolean => {
  if (++self.rejects > maxRejects) throw new PeerDropped({ why: "it rejects every request" })
  return self.rejects >= rejectsUntilSnubbed
}

/** A block came that was asked for. */
export const answer = (self: PeerPatience): void => {
  self.rejects = 0
}

/** Notes whether the peer is snubbed and does not choke. */
export const noteSnubbed = (self: PeerPatience, isSnubbed: boolean, now: number): void => {
  self.snubbedSince = isSnubbed ? (self.snubbedSince ?? now) : undefined
}

/** Throws where the time of the peer is up; `waiting` are the bytes that it has not read. */
export const check = (self: PeerPatience, isSnubbed: boolean, waiting: number, now: number): void => {
  const { blockedSince, lastReceived, snubbedSince } = self
  if (now - lastReceived >= silentAfter) throw new PeerDropped({ why: "it was silent for 3 minutes" })
  if (snubbedSince !== undefined && isSnubbed && now - snubbedSince >= snubbedFor) {
    throw new PeerDropped({ why: "it answered no request for a minute" })
  }
  // What waits grows by haves and cancels for as long as the peer reads nothing.
  if (blockedSince !== undefined && (now - blockedSince >= blockedFor || waiting > maxWaiting)) {
    throw new PeerDropped({ why: "it does not read what is sent to it" })
  }
}
