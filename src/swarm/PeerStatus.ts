/**
 * What is known of a connected peer.
 */
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerId from "../base/PeerId.ts"
import type { PeerSession } from "../peer/PeerSession.ts"

/** A connected peer. Bytes are payload bytes. */
export interface PeerStatus {
  /** Its address, as we see it. The port of a peer that connected to us is not the one at which it listens. */
  readonly address: PeerAddress
  /** What it calls its client: in the extension handshake (BEP 10), else by its peer id. A claim. */
  readonly client: string
  /** Whether it connected to us. */
  readonly isIncoming: boolean
  /** Whether the connection to it is encrypted. */
  readonly isEncrypted: boolean
  /** Whether the handshake with it was encrypted, even if what follows is not. */
  readonly hasEncryptedHandshake: boolean
  /** Whether we choke it, and are interested in it (BEP 3). */
  readonly amChoking: boolean
  readonly amInterested: boolean
  /** Whether it chokes us, and is interested in us. */
  readonly peerChoking: boolean
  readonly peerInterested: boolean
  /** Whether it let requests time out and has sent nothing since. */
  readonly isSnubbed: boolean
  /** Whether it has every piece. */
  readonly isSeed: boolean
  /** Whether it says that it will not download any more (BEP 21). */
  readonly isUploadOnly: boolean
  /** How many pieces it has, and how many of them are wanted and missing here. */
  readonly pieces: number
  readonly interestingPieces: number
  /** Blocks that are requested from it now. */
  readonly requests: number
  /** Bytes a second that it sends to us and receives from us, over the last few seconds. */
  readonly downloadBytesPerSecond: number
  readonly uploadBytesPerSecond: number
  /** Bytes that it has sent to us and received from us in this session. */
  readonly downloadedBytes: number
  readonly uploadedBytes: number
}

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
