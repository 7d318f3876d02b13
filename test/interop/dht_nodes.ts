/**
 * Nodes of the DHT on loopback, each with an address of its own in 127.0.3.0/24: `node dht_nodes.ts COUNT ROUTER`. They
 * ask the node at ROUTER first. Prints `{}` once each knows some nodes. Then it answers each line on standard input with
 * a JSON line on standard output, and ends when that closes:
 *
 *     nodes                      how many nodes each of them has in its routing table
 *     announce NODE HASH PORT    the node NODE announces a peer with this port: how many nodes took it
 *     peers NODE HASH            the peers that the node NODE finds
 */
import { createInterface } from "node:readline"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Context, Effect, Layer, Schedule, Stream } from "effect"
import { Dht, InfoHash, PeerAddress } from "piecewise"
import { NodeDht, NodeUdpHub } from "piecewise/node"

const [count, router] = process.argv.slice(2)

const say = (line: Readonly<Record<string, unknown>>) => Console.log(JSON.stringify(line))

const nodesOf = (dht: Dht.Dht["Service"]) => Effect.map(dht.status, ({ ipv4 }) => ipv4?.nodes ?? 0)

const answer = Effect.fnUntraced(function* (nodes: ReadonlyArray<Dht.Dht["Service"]>, line: string) {
  const [command, node, hex = "", port] = line.split(" ")
  const dht = nodes[Number(node)]
  const infoHash = InfoHash.fromHex(hex)
  if (command === "nodes") return { nodes: yield* Effect.forEach(nodes, nodesOf) }
  if (dht === undefined || infoHash === undefined) return { error: `not understood: ${line}` }
  if (command === "announce") return yield* dht.announce(infoHash, { port: Number(port) })
  const found = yield* Stream.runCollect(dht.peers(infoHash))
  return { peers: found.flatMap(({ peers }) => peers.map(PeerAddress.format)) }
})

const program = Effect.gen(function* () {
  const bootstrap = [PeerAddress.parse(router!)!]
  const nodes = yield* Effect.forEach(Array.from({ length: Number(count) }), (_, index) =>
    Layer.build(
      Layer.provide(NodeDht.layerHub({ bootstrap }), NodeUdpHub.layerPort({ host: `127.0.3.${index + 1}` }))
    ).pipe(Effect.map((context) => Context.get(context, Dht.Dht)))
  )
  const nobody = InfoHash.fromBytes(new Uint8Array(20))!
  yield* Effect.forEach(
    nodes,
    (dht) =>
      Stream.runDrain(dht.peers(nobody)).pipe(
        Effect.andThen(nodesOf(dht)),
        Effect.repeat({ until: (known) => known >= 8, schedule: Schedule.spaced("200 millis") })
      ),
    { concurrency: "unbounded", discard: true }
  )
  yield* say({})
  const lines = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(lines, (line) => Effect.flatMap(answer(nodes, line), say))
})

NodeRuntime.runMain(Effect.scoped(program))
