/** The torrents of a simulated engine by info hash, and who judges their bytes. */
import * as InfoHash from "../base/InfoHash.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { PieceHasher } from "../hash/PieceHasher.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as CheckedStorage from "./CheckedStorage.ts"
import type { KnownTorrent } from "./KnownTorrent.ts"

/** Torrents that the engine may run. */
export interface KnownTorrents {
  readonly hasher: PieceHasher["Service"]
  /** Those whose bytes are known, by info hash in hex. */
  readonly known: Map<string, KnownTorrent>
  /** All of them. */
  readonly metainfos: Map<string, Metainfo.Metainfo>
}

/** No torrent is known yet. */
export const make = (hasher: PieceHasher["Service"]): KnownTorrents => ({
  hasher,
  known: new Map(),
  metainfos: new Map()
})

/** Adds a torrent whose bytes are known. */
export const add = (self: KnownTorrents, known: KnownTorrent): void => {
  self.known.set(InfoHash.toHex(known.metainfo.infoHash), known)
  note(self, known.metainfo)
}

/** Adds a torrent of which only the digests are known. */
export const note = (self: KnownTorrents, metainfo: Metainfo.Metainfo): void => {
  self.metainfos.set(InfoHash.toHex(metainfo.infoHash), metainfo)
}

/** A torrent, and who judges its bytes. */
export interface Known {
  readonly metainfo: Metainfo.Metainfo
  readonly judge: CheckedStorage.Judge
}

/** What is known of a torrent; `undefined` if nothing is. */
export const of = (self: KnownTorrents, infoHash: InfoHash.InfoHash): Known | undefined => {
  const hex = InfoHash.toHex(infoHash)
  const metainfo = self.metainfos.get(hex)
  if (metainfo === undefined) return undefined
  const content = self.known.get(hex)?.content
  const digestOf = (piece: PieceIndex) => Metainfo.pieceDigest(metainfo, piece)
  return {
    metainfo,
    judge:
      content === undefined
        ? CheckedStorage.judgeByDigest(self.hasher, digestOf)
        : CheckedStorage.judgeByContent(content)
  }
}
