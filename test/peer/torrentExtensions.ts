import type { TorrentExtensions } from "../../src/peer/PeerExtensions.ts"

/** What the extensions of a torrent have in common, of one that knows nobody and still wants something. */
export const torrentExtensions = (own: Partial<TorrentExtensions> = {}): TorrentExtensions => ({
  info: new Uint8Array(1),
  isPrivate: false,
  port: undefined,
  isUploadOnly: () => false,
  contacts: () => [],
  seenAs: () => {},
  found: () => {},
  ...own
})
