import { Effect, Layer, Stream } from "effect"
import type { InfoHash } from "../../../src/base/InfoHash.ts"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import type { DhtAnnounce } from "../../../src/discovery/dht/Dht.ts"
import { Dht } from "../../../src/discovery/dht/Dht.ts"
import type { FamilyStatus } from "../../../src/discovery/dht/DhtStatus.ts"
import * as NodeState from "../../../src/discovery/dht/NodeState.ts"

/** What a fake DHT knows, and what it was asked. */
export interface FakeDht {
  readonly layer: Layer.Layer<Dht>
  readonly service: Dht["Service"]
  readonly lookups: Array<{
    readonly infoHash: InfoHash
    readonly announce: DhtAnnounce | undefined
    readonly noSeeds: boolean | undefined
  }>
  readonly nodes: Array<PeerAddress>
  /** Lookups that run now. */
  running: number
  /** What each node reports. */
  reports: ReadonlyArray<ReadonlyArray<PeerAddress>>
  /** Nodes that it knows and that answer, and how many of them take an announce. */
  knownNodes: number
  takingNodes: number
  port: number | undefined
}

/** The node that reports. */
export const node: PeerAddress = { host: "192.0.2.100", port: 6_881 }

/** The status of a node that knows no other and has done nothing, but for `own`. */
export const family = (own: Partial<FamilyStatus>): FamilyStatus => ({
  local: { host: "0.0.0.0", port: 6_881 },
  id: "00".repeat(20),
  nodes: 0,
  goodNodes: 0,
  replacements: 0,
  buckets: 1,
  lookups: 0,
  storedHashes: 0,
  storedPeers: 0,
  traffic: NodeState.noTraffic(),
  ...own
})

/** Makes a DHT of 8 nodes that report the given peers. */
export const make = (...reports: ReadonlyArray<ReadonlyArray<PeerAddress>>): FakeDht => {
  const service = Dht.of({
    peers: (infoHash, options) =>
      Stream.suspend(() => {
        self.lookups.push({ infoHash, announce: options?.announce, noSeeds: options?.noSeeds })
        self.running++
        const announced = options?.announce === undefined ? 0 : self.takingNodes
        options?.onEnd?.({ answered: self.knownNodes, announced })
        return Stream.fromIterable(self.reports.map((peers) => ({ peers, from: node })))
      }).pipe(Stream.ensuring(Effect.sync(() => self.running--))),
    announce: () => Effect.succeed({ nodes: self.takingNodes }),
    scrape: () => Effect.succeed({ seeds: 3, downloaders: 2, nodes: self.knownNodes, answered: self.knownNodes }),
    addNode: (address) => Effect.sync(() => void self.nodes.push(address)),
    portUnsafe: () => self.port,
    status: Effect.sync(() => ({
      ipv4: family({ nodes: self.knownNodes, goodNodes: self.knownNodes }),
      isReadOnly: false
    }))
  })
  const self: FakeDht = {
    service,
    layer: Layer.succeed(Dht, service),
    lookups: [],
    nodes: [],
    running: 0,
    reports,
    knownNodes: 8,
    takingNodes: 8,
    port: 6_881
  }
  return self
}
