/**
 * What a choker sees of a connected peer: a view of its session that is the same object in every round.
 */
import type { InfoHash } from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerId from "../base/PeerId.ts"
import type { PeerProtocol } from "../peer/PeerProtocol.ts"
import type { PeerSession } from "../peer/PeerSession.ts"
import type { Origin } from "./Candidate.ts"
import type * as PeerPolicy from "./PeerPolicy.ts"

/** Over how long rates are averaged (milliseconds): a round of BEP 3. */
export const averageMillis = 10_000

/** What a view is made from. */
export interface Options extends Pick<PeerSession, "protocol" | "peerId" | "remote" | "isIncoming" | "openedAt"> {
  readonly origin: Origin
  readonly infoHash: InfoHash
}

/** A connected peer. A class, because its getters then cost no memory for each peer. */
export class Contender implements PeerPolicy.Contender {
  readonly protocol: PeerProtocol
  readonly address: PeerAddress
  readonly origin: Origin
  readonly infoHash: InfoHash
  readonly peerId: PeerId.PeerId | undefined
  readonly isIncoming: boolean
  readonly connectedAt: number
  downloadBytesPerSecond = 0
  uploadBytesPerSecond = 0
  /** The latest round that it took part in. */
  round: PeerPolicy.Round | undefined
  private measuredAt: number
  private usefulBefore = 0
  private uploadedBefore = 0

  constructor({ infoHash, isIncoming, openedAt, origin, peerId, protocol, remote }: Options) {
    this.protocol = protocol
    this.address = remote
    this.origin = origin
    this.infoHash = infoHash
    this.peerId = PeerId.fromBytes(peerId)
    this.isIncoming = isIncoming
    this.connectedAt = openedAt
    this.measuredAt = openedAt
  }

  get client(): string | undefined {
    return this.protocol.extensions?.theirs.client
  }

  get isUnchoked(): boolean {
    return !this.protocol.uploads.isChoking
  }

  get isSnubbed(): boolean {
    return this.protocol.pipeline.isSnubbed
  }

  get progress(): number {
    const { count, length } = this.protocol.has
    return length === 0 ? 0 : count / length
  }

  get peerInterested(): boolean {
    return this.protocol.peerInterested
  }

  get amInterested(): boolean {
    return this.protocol.amInterested
  }

  get isUploadOnly(): boolean {
    return this.protocol.isUploadOnly
  }

  get usefulBytes(): number {
    return this.protocol.usefulBytes
  }

  get uploadedBytes(): number {
    return this.protocol.uploadedBytes
  }

  /** Notes that it takes part in a round, and measures its rates. */
  begin(round: PeerPolicy.Round): void {
    this.round = round
    const { now } = round
    const millis = now - this.measuredAt
    if (millis <= 0) return
    const part = Math.min(1, millis / averageMillis)
    const { uploadedBytes, usefulBytes } = this.protocol
    const perSecond = 1_000 / millis
    this.downloadBytesPerSecond += part * ((usefulBytes - this.usefulBefore) * perSecond - this.downloadBytesPerSecond)
    this.uploadBytesPerSecond += part * ((uploadedBytes - this.uploadedBefore) * perSecond - this.uploadBytesPerSecond)
    this.measuredAt = now
    this.usefulBefore = usefulBytes
    this.uploadedBefore = uploadedBytes
  }
}
