import type { TorrentExtensions } from "../../src/peer/PeerExtensions.ts"

/** The extensions of a torrent that knows no other peer and still wants something. */
export const torrentExtensions = (own: Partial<TorrentExtensions> = {}): TorrentExtensions => ({
  info: new Uint8Array(1),
  isPrivate: false,
  prefersEncryption: true,
  port: () => undefined,
  isUploadOnly: () => false,
  contacts: () => [],
  contactsVersion: () => 0,
  portChanged: () => {},
  seenAs: () => {},
  found: () => {},
  ...own
})
