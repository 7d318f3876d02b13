/**
 * How much is tolerated of a peer that breaks no rule, or hardly one: silence, rejects, unexpected blocks and requests,
 * and messages that it leaves unread. Plain counters and times of one connection, in milliseconds. A function throws
 * when its limit is passed, which ends the connection.
 */
import * as Data from "effect/Data"
import { WireError } from "../wire/WireError.ts"

/**
 * Unrequested blocks that are tolerated beside one for each useful block: a few cross with our cancels in any case. A
 * peer that sends every block twice may be the only source of a torrent.
 */
export const maxUnaskedBlocks = 64

/** Requests that are tolerated for pieces which we never announced. */
export const maxWrongRequests = 64

/** Rejects without a block between them after which the peer is of no use. */
export const maxRejects = 2_048

/** Rejects in a row after which a peer that does not choke counts as snubbed: it has held up two pieces. */
export const rejectsUntilSnubbed = 32

/** Milliseconds without a byte after which the peer is considered gone: one keep-alive may get lost. */
export const silentAfter = 180_000

/**
 * Milliseconds that a peer may stay snubbed and unchoking before it is dropped, so that its place is free for another.
 */
export const snubbedFor = 60_000

/** Milliseconds that a peer may leave unread what we send, and the bytes that may wait for it meanwhile. */
export const blockedFor = 60_000
export const maxWaiting = 65_536

/** The peer broke no rule, but is of no use, or no longer. `why` is the end of a sentence. */
export class PeerDropped extends Data.TaggedError("PeerDropped")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** What one peer has used up of these limits. */
export interface PeerPatience {
  unaskedBlocks: number
  /** Blocks that were requested and new. */
  usefulBlocks: number
  wrongRequests: number
  /** Rejects since the last block. */
  rejects: number
  lastReceived: number
  /** Since when the connection accepts no more bytes to send; set by the session. */
  blockedSince: number | undefined
  /** Since when the peer is snubbed and does not choke. */
  snubbedSince: number | undefined
}

/** Makes the counters of a peer whose handshake was done at `now`. */
export const make = (now: number): PeerPatience => ({
  unaskedBlocks: 0,
  usefulBlocks: 0,
  wrongRequests: 0,
  rejects: 0,
  lastReceived: now,
  blockedSince: undefined,
  snubbedSince: undefined
})

/** Counts a block that was not requested. */
export const unaskedBlock = (self: PeerPatience): void => {
  if (++self.unaskedBlocks > maxUnaskedBlocks + self.usefulBlocks) {
    throw new WireError({ why: "blocks that nobody requested", isFlood: true })
  }
}

/** Counts a request for a piece that we never announced. */
export const wrongRequest = (self: PeerPatience): void => {
  if (++self.wrongRequests > maxWrongRequests)
    throw new WireError({ why: "requests for pieces that nobody offered", isFlood: true })
}

/** Counts a reject. Returns whether the peer counts as snubbed from now on if it does not choke. */
export const reject = (self: PeerPatience): boolean => {
  if (++self.rejects > maxRejects) throw new PeerDropped({ why: "it rejects every request" })
  return self.rejects >= rejectsUntilSnubbed
}

/** Notes that a requested block arrived. */
export const answer = (self: PeerPatience): void => {
  self.rejects = 0
}

/** Notes that a block arrived that was requested and new. */
export const useful = (self: PeerPatience): void => {
  self.usefulBlocks++
}

/** Notes whether the peer is snubbed and does not choke. */
export const noteSnubbed = (self: PeerPatience, isSnubbed: boolean, now: number): void => {
  self.snubbedSince = isSnubbed ? (self.snubbedSince ?? now) : undefined
}

/** Throws `PeerDropped` if a time limit has passed; `waiting` is the number of bytes that wait to be sent. */
export const check = (self: PeerPatience, isSnubbed: boolean, waiting: number, now: number): void => {
  const { blockedSince, lastReceived, snubbedSince } = self
  if (now - lastReceived >= silentAfter) throw new PeerDropped({ why: "it was silent for 3 minutes" })
  if (snubbedSince !== undefined && isSnubbed && now - snubbedSince >= snubbedFor) {
    throw new PeerDropped({ why: "it sent no requested block for a minute" })
  }
  // Haves and cancels add to what waits for as long as the peer reads nothing.
  if (blockedSince !== undefined && (now - blockedSince >= blockedFor || waiting > maxWaiting)) {
    throw new PeerDropped({ why: "it does not read what is sent to it" })
  }
}
