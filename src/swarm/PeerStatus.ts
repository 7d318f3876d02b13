/**
 * What is known of a connected peer.
 */
import * as Schema from "effect/Schema"
import { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerId from "../base/PeerId.ts"
import type { PeerSession } from "../peer/PeerSession.ts"

/** The schema of what is known of a connected peer. Bytes are payload bytes. */
export const PeerStatus = Schema.Struct({
  /** Its address, as we see it. The port of a peer that connected to us is not the one at which it listens. */
  address: PeerAddress,
  /** What it calls its client: in the extension handshake (BEP 10), else by its peer id. A claim. */
  client: Schema.String,
  /** Whether it connected to us. */
  isIncoming: Schema.Boolean,
  /** Whether the connection to it is encrypted. */
  isEncrypted: Schema.Boolean,
  /** Whether the handshake with it was encrypted, even if what follows is not. */
  hasEncryptedHandshake: Schema.Boolean,
  /** Whether we choke it, and are interested in it (BEP 3). */
  amChoking: Schema.Boolean,
  amInterested: Schema.Boolean,
  /** Whether it chokes us, and is interested in us. */
  peerChoking: Schema.Boolean,
  peerInterested: Schema.Boolean,
  /** Whether it let requests time out and has sent nothing since. */
  isSnubbed: Schema.Boolean,
  /** Whether it has every piece. */
  isSeed: Schema.Boolean,
  /** Whether it says that it will not download any more (BEP 21). */
  isUploadOnly: Schema.Boolean,
  /** How many pieces it has, and how many of them are wanted and missing here. */
  pieces: Schema.Natural,
  interestingPieces: Schema.Natural,
  /** Blocks that are requested from it now. */
  requests: Schema.Natural,
  /** Bytes a second that it sends to us and receives from us, over the last few seconds. */
  downloadBytesPerSecond: Schema.Finite,
  uploadBytesPerSecond: Schema.Finite,
  /** Bytes that it has sent to us and received from us in this session. */
  downloadedBytes: Schema.Natural,
  uploadedBytes: Schema.Natural
})

/** What is known of a connected peer. */
export type PeerStatus = typeof PeerStatus.Type

/** The status of the peer of a session. */
export const of = ({ canEncrypt, isEncrypted, isIncoming, peerId, protocol, remote }: PeerSession): PeerStatus => {
  const { has, pipeline, rates } = protocol
  const id = PeerId.fromBytes(peerId)
  return {
    address: remote,
    client: protocol.extensions?.theirs.client ?? (id === undefined ? "unknown client" : PeerId.client(id)),
    isIncoming,
    isEncrypted,
    hasEncryptedHandshake: isEncrypted || canEncrypt,
    amChoking: protocol.uploads.isChoking,
    amInterested: protocol.amInterested,
    peerChoking: protocol.peerChoking,
    peerInterested: protocol.peerInterested,
    isSnubbed: pipeline.isSnubbed,
    isSeed: has.count === has.length,
    isUploadOnly: protocol.isUploadOnly,
    pieces: has.count,
    interestingPieces: protocol.interesting,
    requests: pipeline.requests.size,
    downloadBytesPerSecond: Math.round(rates.download),
    uploadBytesPerSecond: Math.round(rates.upload),
    downloadedBytes: protocol.downloadedBytes,
    uploadedBytes: protocol.uploadedBytes
  }
}
