/**
 * The nodes of the DHT that peers name (BEP 5 `port`): they wait in a queue until the engine passes them on to the DHT.
 * When the queue is full, further ones are dropped, because any node will do.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Dht } from "../discovery/dht/Dht.ts"
import type { OurNode } from "../peer/DhtContact.ts"

/** Nodes that wait at most. */
export const capacity = 64

/** The queue, and what peers are told of our node. */
export interface PeerNodes {
  readonly dht: Context.Service.Shape<typeof Dht>
  readonly queue: Queue.Queue<PeerAddress>
  readonly ours: OurNode
}

/** Makes an empty queue. */
export const make = (dht: PeerNodes["dht"]): Effect.Effect<PeerNodes> =>
  Effect.map(Queue.dropping<PeerAddress>(capacity), (queue) => ({
    dht,
    queue,
    ours: {
      port: ({ host }) => dht.portUnsafe(host.includes(":") ? "ipv6" : "ipv4"),
      found: (node) => {
        Queue.offerUnsafe(queue, node)
      }
    }
  }))

/** Passes nodes on to the DHT and never ends. If the DHT cannot begin, that is logged, and the next node tries again. */
export const run = ({ dht, queue }: PeerNodes): Effect.Effect<never> =>
  Effect.forever(
    Effect.flatMap(Queue.take(queue), (node) =>
      // A peer names its own host.
      Effect.catchDefect(dht.addNode(node, { from: node.host }), (defect) =>
        Effect.logWarning("the DHT takes no node of a peer", defect)
      )
    )
  )
