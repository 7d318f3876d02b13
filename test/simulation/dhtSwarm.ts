/**
 * Many nodes of the DHT in one network in memory, on Effect's clock. Each is a machine without a fiber: one timeline
 * moves them all. The same seed makes the same run.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as IpAddress from "../../src/base/IpAddress.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as PeerAddresses from "../../src/base/PeerAddress.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Reach from "../../src/base/Reach.ts"
import * as DhtLimits from "../../src/discovery/dht/DhtLimits.ts"
import * as DhtMachine from "../../src/discovery/dht/DhtMachine.ts"
import * as NodeId from "../../src/discovery/dht/NodeId.ts"
import type { Search, SearchResult } from "../../src/discovery/dht/NodeState.ts"
import * as RoutingTable from "../../src/discovery/dht/RoutingTable.ts"
import type { UdpSocket } from "../../src/network/Transport.ts"
import * as MemoryUdpNetwork from "../../src/testing/MemoryUdpNetwork.ts"
import * as Timeline from "../../src/testing/Timeline.ts"

/** The port of every node. */
const port = 6881

/** A search that has ended. */
export interface Ended {
  readonly peers: ReadonlyArray<PeerAddress>
  readonly result: SearchResult
}

/** A node of the swarm. */
export interface Member {
  readonly machine: DhtMachine.DhtMachine
  readonly address: PeerAddress
  /** Leaves without a word. */
  readonly leave: Effect.Effect<void>
  /** Begins a search. `ended` is called at its end. */
  readonly search: (search: Search, ended: (ended: Ended) => void) => void
}

/** The swarm. */
export interface DhtSwarm {
  readonly random: Prng.Prng
  readonly members: Array<Member>
  /** Milliseconds. */
  readonly nowUnsafe: () => number
  /** A public address that nobody has. */
  readonly newHost: () => string
  /** Adds a node, which asks `routers` first. `suits`: whether its id follows from its address. */
  readonly join: (options: {
    readonly routers: ReadonlyArray<PeerAddress>
    readonly suits: boolean
  }) => Effect.Effect<Member, never, Scope.Scope>
  /** Binds a port for one who is no honest node. */
  readonly bind: (address: PeerAddress) => Effect.Effect<UdpSocket, never, Scope.Scope>
}

/** A swarm without nodes. */
export const make = Effect.fnUntraced(function* (seed: number) {
  const network = yield* MemoryUdpNetwork.MemoryUdpNetwork
  const timeline = yield* Timeline.make
  const random = Prng.make(seed)
  const used = new Set<string>()
  const members: Array<Member> = []

  const newHost = (): string => {
    while (true) {
      const host = IpAddress.format(Uint8Array.from({ length: 4 }, () => Prng.integer(random, 256)))!
      if (Reach.of(host) !== "public" || used.has(host)) continue
      used.add(host)
      return host
    }
  }

  const bind = (address: PeerAddress) =>
    Effect.orDie(network.host(address.host).bind({ host: address.host, port: address.port }))

  const join: DhtSwarm["join"] = Effect.fnUntraced(function* ({ routers, suits }) {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const address = { host: newHost(), port }
    const socket = yield* Scope.provide(bind(address), scope)
    const own = Prng.fork(seed, members.length)
    const id = suits
      ? NodeId.ofAddress(IpAddress.parse(address.host)!, Prng.integer(own, 256), own)
      : NodeId.random(own)
    const machine = DhtMachine.make({
      family: "ipv4",
      id,
      isIdFixed: true,
      limits: DhtLimits.defaults,
      random: own,
      entropy: (length) => Uint8Array.from({ length }, () => Prng.integer(own, 256)),
      now: timeline.nowUnsafe()
    })
    DhtMachine.opened(machine, timeline.nowUnsafe())
    const searches = new Map<number, { readonly peers: Array<PeerAddress>; readonly ended: (ended: Ended) => void }>()
    let isHere = true
    let planned = Number.POSITIVE_INFINITY

    const plan = () => {
      const now = timeline.nowUnsafe()
      const next = Math.max(DhtMachine.nextAt(machine, now), now + 1)
      if (next >= planned || !isHere) return
      planned = next
      timeline.scheduleUnsafe(next, () => {
        if (planned !== next || !isHere) return
        planned = Number.POSITIVE_INFINITY
        perform(DhtMachine.tick(machine, timeline.nowUnsafe()))
      })
    }

    const perform = (actions: DhtMachine.Actions) => {
      for (const action of actions) {
        if (action._tag === "Send") socket.sendUnsafe(action.payload, action.to)
        else if (action._tag === "Found") searches.get(action.task)!.peers.push(...action.peers)
        else if (action._tag === "Ended") {
          const { ended, peers } = searches.get(action.task)!
          searches.delete(action.task)
          ended({ peers, result: action.result })
        }
      }
      plan()
    }

    socket.receiveUnsafe((payload, from) => {
      if (isHere) perform(DhtMachine.receive(machine, payload, from, timeline.nowUnsafe()))
    })
    perform(DhtMachine.bootstrap(machine, routers, timeline.nowUnsafe()))
    const member: Member = {
      machine,
      address,
      leave: Effect.suspend(() => {
        isHere = false
        members.splice(members.indexOf(member), 1)
        return Scope.close(scope, Exit.void)
      }),
      search: (search, ended) => {
        const { actions, task } = DhtMachine.search(machine, search, timeline.nowUnsafe())
        searches.set(task, { peers: [], ended })
        perform(actions)
      }
    }
    members.push(member)
    return member
  })

  const { nowUnsafe } = timeline
  return { random, members, nowUnsafe, newHost, join, bind } satisfies DhtSwarm as DhtSwarm
})

/** A member chosen at random. */
export const anyone = ({ members, random }: DhtSwarm): Member => members[Prng.integer(random, members.length)]!

/** Whether a search found a peer. */
export const hasFound = ({ peers }: Ended, peer: PeerAddress): boolean =>
  peers.some((found) => PeerAddresses.equals(found, peer))

/** The share of the nodes in all tables that are still there. */
export const livingShare = ({ members }: DhtSwarm): number => {
  const living = new Set(members.map(({ address }) => PeerAddresses.format(address)))
  const known = members.flatMap(({ machine }) =>
    RoutingTable.nodes(machine.table).filter((node) => !RoutingTable.isBad(node))
  )
  return known.filter(({ address }) => living.has(PeerAddresses.format(address))).length / known.length
}

/** How many nodes a node knows, on average. */
export const nodesKnown = ({ members }: DhtSwarm): number =>
  members.reduce((sum, { machine }) => sum + RoutingTable.size(machine.table), 0) / members.length

/** The middle value. */
export const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
