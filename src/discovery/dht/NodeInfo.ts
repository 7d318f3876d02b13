/**
 * A node as others name it: id and address, in compact form 26 bytes with IPv4 (BEP 5) and 38 with IPv6 (BEP 32).
 */
import * as CompactPeers from "../../base/CompactPeers.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import type { NodeId } from "./NodeId.ts"
import * as NodeIds from "./NodeId.ts"

/** A node. The port is of UDP, and the host an IP address in canonical form. */
export interface NodeInfo {
  readonly id: NodeId
  readonly address: PeerAddress
}

/** Bytes that a node takes in a list. */
export const entryLength = (family: CompactPeers.Family): number => NodeIds.length + CompactPeers.entryLength[family]

/**
 * The nodes of a list, in order and without those of port 0, as copies; `undefined` if the list is not made of whole
 * entries.
 */
export const decode = (bytes: Uint8Array, family: CompactPeers.Family): ReadonlyArray<NodeInfo> | undefined => {
  const size = entryLength(family)
  if (bytes.length % size !== 0) return undefined
  const nodes: Array<NodeInfo> = []
  for (let at = 0; at < bytes.length; at += size) {
    const address = CompactPeers.read(bytes, at + NodeIds.length, family)
    if (address === undefined) continue
    nodes.push({ id: copy(bytes, at, at + NodeIds.length) as Uint8Array as NodeId, address })
  }
  return nodes
}

// Not slice: on a Node Buffer it returns a view.
const copy = (bytes: Uint8Array, start: number, end: number): Uint8Array =>
  Uint8Array.prototype.slice.call(bytes, start, end)

/** The list of nodes that are all of one family. */
export const encode = (nodes: ReadonlyArray<NodeInfo>, family: CompactPeers.Family): Uint8Array<ArrayBuffer> => {
  const size = entryLength(family)
  const bytes = new Uint8Array(nodes.length * size)
  for (const [index, { address, id }] of nodes.entries()) {
    bytes.set(id, index * size)
    bytes.set(CompactPeers.encode([address])[family], index * size + NodeIds.length)
  }
  return bytes
}
