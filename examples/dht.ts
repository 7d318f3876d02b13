/**
 * Uses the DHT alone, without an engine: `node examples/dht.ts INFO_HASH [HOST:PORT...]` says which nodes name peers of a
 * torrent, and about how many peers there are. The addresses are of nodes to ask first, instead of public routers. The
 * nodes that it gets to know are kept in dht.json, so the next run asks no router.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Stream } from "effect"
import { Dht, InfoHash, PeerAddress } from "piecewise"
import { NodeDht, NodeUdpHub } from "piecewise/node"

/** Looks for the peers of a torrent. Nobody has checked that they exist. */
export const find = Effect.fnUntraced(function* (infoHash: InfoHash.InfoHash) {
  const dht = yield* Dht.Dht
  yield* Stream.runForEach(dht.peers(infoHash), ({ from, peers }) =>
    Console.log(`${PeerAddress.format(from)} names ${peers.map(PeerAddress.format).join(", ")}`)
  )
  const { downloaders, nodes, seeds } = yield* dht.scrape(infoHash)
  yield* nodes === 0
    ? Console.log("no node says how many peers there are")
    : Console.log(`about ${seeds} seeds and ${downloaders} downloaders, by the answers of ${nodes} nodes`)
  const { ipv4, ipv6 } = yield* dht.status
  yield* Console.log(`known nodes: ${ipv4?.nodes ?? 0} of IPv4, ${ipv6?.nodes ?? 0} of IPv6`)
})

const [hex = "", ...routers] = process.argv.slice(2)
const infoHash = InfoHash.fromHex(hex)
const bootstrap = routers.flatMap((text) => PeerAddress.parse(text) ?? [])

const layer = NodeDht.layerHub({
  file: "dht.json",
  // It is gone before others could use it, so it answers nobody and takes no place in their routing tables (BEP 43).
  isReadOnly: true,
  ...(bootstrap.length > 0 && { bootstrap })
}).pipe(Layer.provide(NodeUdpHub.layerPort()))

const program = infoHash === undefined ? Console.error("give an info hash: 40 hexadecimal digits") : find(infoHash)
if (import.meta.main) NodeRuntime.runMain(Effect.provide(program, layer))
