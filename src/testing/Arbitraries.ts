/**
 * What properties draw from, for fast-check. Each is described in its file in `arbitrary/`.
 */
import * as FrameStream from "./arbitrary/FrameStream.ts"
import * as Metainfo from "./arbitrary/Metainfo.ts"
import * as PeerScript from "./arbitrary/PeerScript.ts"
import * as Values from "./arbitrary/Values.ts"

export type { Damage, FrameStream } from "./arbitrary/FrameStream.ts"
export type { DamagedMetainfo, MetainfoSample } from "./arbitrary/Metainfo.ts"
export type { Label, PeerScript } from "./arbitrary/PeerScript.ts"
export type { WireMessage } from "./WireMessage.ts"

/** Keys and values of bencode (BEP 3). */
export const { bencodeKey, bencodeValue } = Values

/** Info hashes, IP addresses, and peers' addresses. */
export const { infoHash, ipBytes, peerAddress } = Values

/** Wire messages (BEP 3, BEP 6), streams of their frames, and cuttings of a stream into chunks. */
export const { cut, cutting, frameStream, message } = FrameStream

/** Torrents with known content, metainfo files, and metainfo files with a named damage. */
export const { damagedMetainfo, knownTorrent, metainfo } = Metainfo

/** Behaviours of scripted peers: honest ones, damaged ones, and a mixture. */
export const { damaged: damagedPeer, honest: honestPeer, peerScript } = PeerScript
