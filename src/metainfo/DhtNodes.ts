/**
 * The nodes of the DHT that a torrent without trackers names, so that its peers can be found (BEP 5, "Torrent File
 * Extensions"): `nodes`, a list of pairs of a host and a port.
 */
import * as Bytes from "../base/Bytes.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Bencode from "../bencode/Bencode.ts"

/** Nodes that are kept of a torrent; further ones are dropped. One that answers is enough. */
export const maxNodes = 100

/** The nodes in a metainfo file, names included. Those that cannot be asked are dropped, and so are repeated ones. */
export const of = (root: Bencode.Dictionary): ReadonlyArray<PeerAddress.PeerAddress> => {
  const nodes = new Map<string, PeerAddress.PeerAddress>()
  for (const entry of Bencode.getList(root, "nodes") ?? []) {
    if (nodes.size === maxNodes) break
    const node = nodeOf(entry)
    if (node !== undefined && PeerAddress.isDialable(node)) nodes.set(PeerAddress.format(node), node)
  }
  return [...nodes.values()]
}

const nodeOf = (entry: Bencode.Value): PeerAddress.PeerAddress | undefined => {
  if (!Bencode.isList(entry)) return undefined
  const [host, port] = entry
  return Bencode.isBytes(host) && typeof port === "number" ? PeerAddress.make(Bytes.toText(host), port) : undefined
}

/** The value of `nodes`; `undefined` if there are none. */
export const encoded = (
  nodes: ReadonlyArray<PeerAddress.PeerAddress>
): ReadonlyArray<readonly [host: string, port: number]> | undefined =>
  nodes.length === 0 ? undefined : nodes.map(({ host, port }) => [host, port])
