/**
 * The contract of what a DHT node remembers from one run to the next: its ids and the nodes that it knew (BEP 5, "Routing
 * Table"). With it a node joins at once, without asking a router, and keeps its place.
 *
 * Nothing in it is believed: a saved node is asked before it counts, and an id that does not suit our address is
 * replaced.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { PeerAddress } from "../../base/PeerAddress.ts"

/** What is remembered of one family of addresses. */
const SavedNode = Schema.Struct({
  /** Our id: 40 hexadecimal digits. Missing if another node may be using it: a new one is chosen then. */
  id: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[0-9a-f]{40}$/))),
  /** The nodes of the routing table, best first; at most `maxSavedNodes`. */
  nodes: Schema.Array(PeerAddress)
})

/** The schema of `Saved`. In JSON an address is a text. */
export const Saved = Schema.Struct({
  ipv4: Schema.optionalKey(SavedNode),
  ipv6: Schema.optionalKey(SavedNode)
})

/** What is remembered. A family that never had a socket is missing. */
export type Saved = typeof Saved.Type

/** Most nodes that are saved for a family: enough to find a living one after weeks. */
export const maxSavedNodes = 200

/** The routing table could not be read or written. `why` ends a sentence. */
export class DhtStoreError extends Schema.TaggedError<DhtStoreError>()("piecewise/DhtStoreError", {
  operation: Schema.Literals(["load", "save"]),
  why: Schema.String
}) {
  override get message() {
    return `The DHT's nodes could not be ${this.operation === "load" ? "loaded" : "saved"}: ${this.why}.`
  }
}

/**
 * Remembers the nodes of a DHT. A failure is logged, and the DHT works on without. After a failed `load` nothing is
 * saved, so that what could not be read is not replaced.
 */
export class DhtStore extends Context.Service<
  DhtStore,
  {
    /**
     * What was saved last; `undefined` if nothing was. A store that several programs share gives the ids to one of those
     * that run at the same time.
     */
    readonly load: Effect.Effect<Saved | undefined, DhtStoreError>
    /**
     * Replaces what was saved, as a whole or not at all. Called every few minutes and when the DHT closes. Does nothing
     * if another program that runs saves in the same place.
     */
    readonly save: (saved: Saved) => Effect.Effect<void, DhtStoreError>
  }
>()("piecewise/discovery/dht/DhtStore") {}

/** Remembers for as long as the layer exists, beginning with `initial`. */
export const layerMemory = (initial?: Saved): Layer.Layer<DhtStore> =>
  Layer.sync(DhtStore, () => {
    let saved = initial
    return DhtStore.of({
      load: Effect.sync(() => saved),
      save: (next) =>
        Effect.sync(() => {
          saved = next
        })
    })
  })
