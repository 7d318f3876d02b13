/**
 * The torrents that peers can ask for, by the digest that stands for each in an encrypted handshake. It is computed
 * once for each torrent, so finding one takes the same time however many there are.
 */
import * as Bytes from "../../base/Bytes.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import * as MseKeys from "./MseKeys.ts"

/** By `MseKeys.nameOf` in hex. A torrent may be there more than once, as one that runs and one whose metadata is fetched. */
export type TorrentNames = Map<string, { readonly infoHash: InfoHash; users: number }>

/** Makes it without torrents. */
export const make = (): TorrentNames => new Map()

/** Adds a torrent, which `remove` removes. */
export const add = (self: TorrentNames, infoHash: InfoHash): void => {
  const name = Bytes.toHex(MseKeys.nameOf(infoHash))
  const entry = self.get(name)
  if (entry === undefined) self.set(name, { infoHash, users: 1 })
  else entry.users++
}

/** Removes a torrent that was added. */
export const remove = (self: TorrentNames, infoHash: InfoHash): void => {
  const name = Bytes.toHex(MseKeys.nameOf(infoHash))
  const entry = self.get(name)
  if (entry !== undefined && --entry.users === 0) self.delete(name)
}

/** The torrent with a name, if there is one. */
export const find = (self: TorrentNames, name: Uint8Array): InfoHash | undefined =>
  self.get(Bytes.toHex(name))?.infoHash
