/**
 * The connected peers of a torrent, as clients of the Transmission RPC see them. Pure.
 */
import type { PeerStatus } from "../../torrent/Torrent.ts"
import type { TorrentView } from "./TorrentView.ts"

/**
 * The state of a peer in letters, as the clients explain them: `D` it sends to us, `d` we want it to, `U` we send to it,
 * `u` it wants us to, `K` it would send and we want nothing, `?` we would and it wants nothing, `E` encrypted, `I` it
 * connected to us.
 */
const flagsOf = (peer: PeerStatus): string => {
  const { amChoking, amInterested, isEncrypted, isIncoming, peerChoking, peerInterested } = peer
  const flags = [
    peer.downloadBytesPerSecond > 0 ? "D" : amInterested ? "d" : peerChoking ? "" : "K",
    peer.uploadBytesPerSecond > 0 ? "U" : peerInterested ? "u" : amChoking ? "" : "?",
    isEncrypted ? "E" : "",
    isIncoming ? "I" : ""
  ]
  return flags.join("")
}

/** `peers`. */
export const list = ({ engine, peers }: TorrentView) =>
  peers.map((peer) => ({
    address: peer.address.host,
    port: peer.address.port,
    clientName: peer.client,
    clientIsChoked: peer.peerChoking,
    clientIsInterested: peer.amInterested,
    peerIsChoked: peer.amChoking,
    peerIsInterested: peer.peerInterested,
    flagStr: flagsOf(peer),
    isDownloadingFrom: peer.downloadBytesPerSecond > 0,
    isUploadingTo: peer.uploadBytesPerSecond > 0,
    isEncrypted: peer.isEncrypted,
    isIncoming: peer.isIncoming,
    isUTP: false,
    progress: engine === undefined || engine.totalPieces === 0 ? 0 : peer.pieces / engine.totalPieces,
    rateToClient: peer.downloadBytesPerSecond,
    rateToPeer: peer.uploadBytesPerSecond
  }))

/** `peersFrom`. Where those are from to which we have connected is not known. */
export const origins = ({ peers }: TorrentView) => ({
  fromCache: 0,
  fromDht: 0,
  fromIncoming: peers.filter(({ isIncoming }) => isIncoming).length,
  fromLpd: 0,
  fromLtep: 0,
  fromPex: 0,
  fromTracker: 0
})

/** `peersGettingFromUs`. */
export const gettingFromUs = ({ peers }: TorrentView): number =>
  peers.filter(({ uploadBytesPerSecond }) => uploadBytesPerSecond > 0).length

/** `peersSendingToUs`. */
export const sendingToUs = ({ peers }: TorrentView): number =>
  peers.filter(({ downloadBytesPerSecond }) => downloadBytesPerSecond > 0).length
