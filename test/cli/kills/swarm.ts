/**
 * The other side of the kill test of a service: a tracker that knows a slow seed of each torrent.
 */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import * as Bencode from "../../../src/bencode/Bencode.ts"
import * as TcpTransport from "../../../src/network/provider/node/TcpTransport.ts"
import * as ScriptedPeer from "../../../src/testing/ScriptedPeer.ts"
import type { Torrent } from "./torrents.ts"

/** Bytes a second that each seed sends. Large torrents are under way for many kills. */
const bytesPerSecond = 80_000

const infoHashIn = (url: string): string => {
  const text = /[?&]info_hash=([^&]*)/.exec(url)?.[1] ?? ""
  const hex = text.replaceAll(/%([0-9a-f]{2})|[^%]/gi, (found, byte: string | undefined) =>
    byte === undefined ? found.charCodeAt(0).toString(16).padStart(2, "0") : byte.toLowerCase()
  )
  return hex
}

const compact = ({ host, port }: PeerAddress): Uint8Array =>
  Uint8Array.from([...host.split(".").map(Number), port >>> 8, port & 255])

/** Starts a tracker on this machine until the scope closes. It answers with the address in `seeds` of an info hash. */
export const tracker = Effect.fnUntraced(function* (seeds: ReadonlyMap<string, PeerAddress>) {
  const server = createServer(({ url = "" }, response) => {
    const seed = seeds.get(infoHashIn(url))
    response.end(Bencode.encode({ interval: 60, peers: seed === undefined ? new Uint8Array() : compact(seed) }))
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`
})

/** Starts a seed of a torrent until the scope closes, a slow one unless it is `fast`. */
export const seed = ({ content, infoHash, metainfo, number }: Torrent, speed: "slow" | "fast" = "slow") =>
  Effect.map(
    ScriptedPeer.serve({
      infoHash,
      geometry: metainfo.layout.geometry,
      content,
      info: metainfo.infoBytes,
      behaviour: { seed: number + 1, bytesPerSecond: speed === "slow" ? bytesPerSecond : undefined }
    }).pipe(Effect.provide(TcpTransport.layerListener)),
    ({ address }) => [InfoHash.toHex(infoHash), address] as const
  )
