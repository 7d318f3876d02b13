/**
 * The bytes of a torrent file (BEP 3) that says what a metainfo does: to keep what a magnet link was found to stand for.
 */
import * as Bytes from "../base/Bytes.ts"
import * as Bencode from "../bencode/Bencode.ts"
import * as DhtNodes from "./DhtNodes.ts"
import type { Structure } from "./Metainfo.ts"

/** What is encoded. Layout and names follow from `infoBytes`. */
export type Contents = Pick<
  Structure,
  "trackers" | "webSeeds" | "httpSeeds" | "nodes" | "comment" | "createdBy" | "creationDate" | "infoBytes"
>

const filled = <A>(list: ReadonlyArray<A>): ReadonlyArray<A> | undefined => (list.length === 0 ? undefined : list)

/** Encodes a torrent file. `Metainfo.decode` reads the same from it, with the same info hash. */
export const encode = (contents: Contents): Uint8Array<ArrayBuffer> => {
  const { comment, createdBy, creationDate, httpSeeds, infoBytes, nodes, trackers, webSeeds } = contents
  // The keys before and after `info`, whose bytes are kept as they are: its digest is the info hash.
  const before = Bencode.encode({
    announce: trackers[0]?.[0],
    "announce-list": filled(trackers),
    comment,
    "created by": createdBy,
    "creation date": creationDate,
    httpseeds: filled(httpSeeds)
  })
  const after = Bencode.encode({ nodes: DhtNodes.encoded(nodes), "url-list": filled(webSeeds) })
  return Bytes.concat([before.subarray(0, -1), Bytes.fromText("4:info"), infoBytes, after.subarray(1)])
}
