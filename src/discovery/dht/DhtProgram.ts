/**
 * Runs the DHT: a node for each socket of the hub, one a family (BEP 32), or one for each local address that the hub was
 * given (BEP 45), with an id and a routing table of its own. What is asked of `Dht` is asked over all of them: over both
 * families at once, and over the nodes of one family one after the other, because they ask the same nodes of others.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Bytes from "../../base/Bytes.ts"
import * as CompactPeers from "../../base/CompactPeers.ts"
import * as Monotonic from "../../base/Monotonic.ts"
import * as Naming from "../../base/Naming.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as PeerAddresses from "../../base/PeerAddress.ts"
import * as Reach from "../../base/Reach.ts"
import type { ConnectionError } from "../../network/Transport.ts"
import { UdpHub } from "../../network/UdpHub.ts"
import * as BloomFilter from "./BloomFilter.ts"
import { Dht, type PeersFound } from "./Dht.ts"
import type { DhtLimits } from "./DhtLimits.ts"
import * as DefaultLimits from "./DhtLimits.ts"
import * as DhtMachine from "./DhtMachine.ts"
import * as DhtNode from "./DhtNode.ts"
import { DhtStore } from "./DhtStore.ts"
import * as Lookup from "./Lookup.ts"
import * as NodeIds from "./NodeId.ts"
import type { Search, SearchResult } from "./NodeState.ts"

/** How a DHT works. */
export interface DhtOptions {
  /** Nodes that are asked first while no others are known, names included; default `defaultRouters`. */
  readonly bootstrap?: ReadonlyArray<PeerAddress> | undefined
  /** Resolves the names in `bootstrap`. Without it names are left out. */
  readonly lookup?: ((address: PeerAddress) => Effect.Effect<ReadonlyArray<PeerAddress>, ConnectionError>) | undefined
  /** Whether to ask only, and answer nobody (BEP 43), as for a node that others cannot reach; default `false`. */
  readonly isReadOnly?: boolean | undefined
  /**
   * Our id, 20 bytes, for every family. By default it is the saved one, or a new one, and it changes to one that suits
   * our address (BEP 42). A given one stays; further nodes of a family have ids that follow from it.
   */
  readonly nodeId?: Uint8Array | undefined
  /** The families of addresses to use; default both. A family without a socket is tried again later. */
  readonly families?: ReadonlyArray<CompactPeers.Family> | undefined
  /** The limits that differ from `DhtLimits.defaults`. */
  readonly limits?: Partial<DhtLimits> | undefined
}

/** Public routers that know nodes of the DHT. */
export const defaultRouters: ReadonlyArray<PeerAddress> = [
  { host: "router.bittorrent.com", port: 6881 },
  { host: "dht.transmissionbt.com", port: 6881 },
  { host: "router.utorrent.com", port: 6881 },
  { host: "dht.libtorrent.org", port: 25_401 }
]

/** How often the routing tables are saved. */
export const savePeriod: Duration.Input = "5 minutes"

/** How many addresses `addNode` asks at once, and how many more each second. */
const maxAdded = 20
const addedPerSecond = 2

/**
 * Most nodes of a family. Each sends and receives as much as one alone, and announces us by its address, of which peers
 * need few.
 */
export const maxNodesOfFamily = 4

/** Answers that may wait for a slow reader of `peers`: all that the lookups of the nodes can get. */
const maxUnread = 2 * maxNodesOfFamily * Lookup.maxQueries

/** Runs a node for each socket until the scope closes. */
export const make = Effect.fnUntraced(function* (
  options: DhtOptions = {}
): Effect.fn.Return<Dht["Service"], never, DhtStore | UdpHub | Scope.Scope> {
  const hub = yield* UdpHub
  const scope = yield* Effect.scope
  const store = yield* DhtStore
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const loaded = yield* Effect.result(store.load)
  const saved = Result.getOrUndefined(loaded)
  const limits: DhtLimits = { ...DefaultLimits.defaults, ...options.limits }
  const prng = () => random.nextDoubleUnsafe()
  /** Whether there may be somebody to ask. A lookup before would find nobody. */
  const ready = Deferred.makeUnsafe<void>()
  const onFirst = () => void Deferred.doneUnsafe(ready, Exit.void)
  const nodes: Array<DhtNode.DhtNode> = []
  const places = (options.families ?? CompactPeers.families).flatMap((family) =>
    hub
      .hosts(family)
      .slice(0, maxNodesOfFamily)
      .map((host, index) => ({ family, host, index }))
  )
  const ownHosts = new Set(places.map(({ host }) => host))
  const isOwnNode = (address: PeerAddress) =>
    nodes.some(({ local }) => {
      const own = local()
      return own !== undefined && PeerAddresses.equals(own, address)
    })
  for (const { family, host, index } of places) {
    const given = options.nodeId === undefined ? undefined : NodeIds.fromBytes(options.nodeId)
    const known = NodeIds.fromBytes(Bytes.fromHex((index === 0 && saved?.[family]?.id) || "") ?? new Uint8Array())
    const machine = DhtMachine.make({
      family,
      id: (given && NodeIds.apart(given, index)) ?? known ?? NodeIds.random(prng),
      isIdFixed: given !== undefined,
      isReadOnly: options.isReadOnly,
      limits,
      random: prng,
      entropy: (length) => crypto.getRandomValues(new Uint8Array(length)),
      now: Monotonic.nowUnsafe(clock)
    })
    machine.saved = (saved?.[family]?.nodes ?? []).filter((address) => CompactPeers.familyOf(address) === family)
    const others = (named: Parameters<DhtNode.DhtNode["named"]>[0]) => {
      for (const node of nodes) if (node.machine.family !== family) node.named(named)
    }
    machine.ownHosts = ownHosts
    machine.isOwnNode = isOwnNode
    nodes.push(yield* DhtNode.make({ hub, machine, host, clock, others, onFirst }))
  }
  const nodesOf = (family: CompactPeers.Family | undefined) => nodes.filter(({ machine }) => machine.family === family)
  for (const { machine } of nodes) {
    machine.sibling = nodes.find((other) => other.machine.family !== machine.family)?.machine
  }
  yield* hub.claim("dht", (payload, from, host) =>
    nodes.find((node) => node.host === host)?.receiveUnsafe(payload, from)
  )

  yield* join(nodes, options, ready).pipe(Effect.ensuring(Deferred.succeed(ready, undefined)), Effect.forkScoped)

  const save = Effect.suspend(() => {
    const now = Monotonic.nowUnsafe(clock)
    // The nodes that the first one of a family knows are good for all.
    const firsts = CompactPeers.families.flatMap((family) => nodesOf(family).slice(0, 1))
    const parts = firsts.map(({ machine }) => [machine.family, DhtMachine.save(machine, now)] as const)
    const known = parts.filter(([family, { nodes }]) => nodes.length > 0 || saved?.[family])
    // Of a family without a node in this run, what was saved is kept for the next.
    return store.save({ ...saved, ...Object.fromEntries(known) })
  }).pipe(Effect.catchTag("piecewise/DhtStoreError", (error) => Effect.logWarning(error.message)))
  if (Result.isSuccess(loaded)) {
    yield* Effect.addFinalizer(() => save)
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(savePeriod), save)))
  } else {
    const { message } = loaded.failure
    yield* Effect.logWarning(`${message} What is there stays as it is, and no nodes are saved in this run.`)
  }

  const permits = yield* Semaphore.make(limits.lookups)
  const run = (search: Search, found: DhtNode.Found) =>
    Effect.andThen(
      Deferred.await(ready),
      permits.withPermits(1)(
        Effect.forEach(
          CompactPeers.families,
          (family) => Effect.forEach(nodesOf(family), (node) => node.search(search, found)),
          { concurrency: "unbounded" }
        )
      )
    ).pipe(Effect.map((results) => results.flat().filter((result) => result !== undefined)))

  /** Asks a node now, or when there is a socket. */
  const suggest = (address: PeerAddress) => {
    for (const [index, node] of nodesOf(CompactPeers.familyOf(address)).entries()) {
      if (index > 0 && !DhtMachine.knowsFew(node.machine)) continue
      node.act((now) => DhtMachine.suggest(node.machine, address, now))
    }
  }

  const openOf = (family: CompactPeers.Family) =>
    nodesOf(family).flatMap(({ local, machine }) => {
      const address = local()
      return address === undefined ? [] : [{ local: address, machine }]
    })

  let addable = maxAdded
  let addableAt = Monotonic.nowUnsafe(clock)

  return Dht.of({
    peers: (infoHash, { announce, noSeeds, onEnd } = {}) =>
      Stream.callback<PeersFound>(
        (queue) => {
          const seen = new Set<string>()
          const found: DhtNode.Found = (peers, from) => {
            const fresh = peers.filter((peer) => !seen.has(PeerAddresses.format(peer)))
            for (const peer of fresh) seen.add(PeerAddresses.format(peer))
            if (fresh.length > 0) Queue.offerUnsafe(queue, { peers: fresh, from })
          }
          const search = { target: targetOf(infoHash), wantsPeers: true, noSeeds, announce }
          return Effect.flatMap(run(search, found), (results) => {
            onEnd?.({
              answered: sum(results, ({ answered }) => answered),
              announced: sum(results, ({ announced }) => announced)
            })
            return Queue.end(queue)
          })
        },
        { bufferSize: maxUnread }
      ),
    announce: (infoHash, announce) =>
      Effect.map(
        run({ target: targetOf(infoHash), wantsPeers: true, announce }, () => {}),
        (results) => ({
          nodes: sum(results, ({ announced }) => announced)
        })
      ),
    scrape: (infoHash) =>
      Effect.map(
        run({ target: targetOf(infoHash), wantsPeers: true, scrape: true }, () => {}),
        (results) => {
          const seeds = BloomFilter.make()
          const downloaders = BloomFilter.make()
          for (const result of results) {
            BloomFilter.addAll(seeds, result.seeds)
            BloomFilter.addAll(downloaders, result.downloaders)
          }
          return {
            seeds: Math.round(BloomFilter.estimate(seeds)),
            downloaders: Math.round(BloomFilter.estimate(downloaders)),
            nodes: sum(results, ({ scraped }) => scraped),
            answered: sum(results, ({ answered }) => answered)
          }
        }
      ),
    addNode: (address, { from } = {}) =>
      Effect.suspend(() => {
        const reach = from === undefined ? "public" : Reach.of(from)
        if (!Naming.mayName(reach, address)) return Effect.void
        const now = Monotonic.nowUnsafe(clock)
        addable = Math.min(maxAdded, addable + ((now - addableAt) * addedPerSecond) / 1000)
        addableAt = now
        if (addable < 1) return Effect.void
        addable--
        if (CompactPeers.familyOf(address) !== undefined) return Effect.sync(() => suggest(address))
        const named = Effect.map(resolve(address, options.lookup), (found) => {
          for (const each of found) if (Naming.mayName(reach, each)) suggest(each)
        })
        return Effect.asVoid(Effect.forkIn(named, scope))
      }),
    portUnsafe: (family) => openOf(family)[0]?.local.port,
    status: Effect.sync(() => {
      const now = Monotonic.nowUnsafe(clock)
      const all = CompactPeers.families.map((family) =>
        openOf(family).map(({ local, machine }) => ({ local, ...DhtMachine.status(machine, now) }))
      )
      const [[ipv4, ...others4] = [], [ipv6, ...others6] = []] = all
      const others = [...others4, ...others6]
      return {
        ...(ipv4 === undefined ? {} : { ipv4 }),
        ...(ipv6 === undefined ? {} : { ipv6 }),
        ...(others.length === 0 ? {} : { others }),
        isReadOnly: options.isReadOnly === true
      }
    })
  })
})

/** The DHT over the hub at hand, with the memory of a `DhtStore`. */
export const layer = (options?: DhtOptions): Layer.Layer<Dht, never, DhtStore | UdpHub> =>
  Layer.effect(Dht, make(options))

/** The first 20 bytes, as a copy: it lives as long as the search. */
const targetOf = (infoHash: Uint8Array): NodeIds.NodeId =>
  new Uint8Array(infoHash.subarray(0, NodeIds.length)) as Uint8Array as NodeIds.NodeId

const sum = (results: ReadonlyArray<SearchResult>, of: (result: SearchResult) => number): number =>
  results.reduce((total, result) => total + of(result), 0)

/** How long to wait before unresolved names of routers are resolved again, in seconds: twice as long each time. */
const minResolveSeconds = 30
const maxResolveSeconds = 600

/**
 * Tells each node whom to ask first: routers with an address at once, and each other one when its name is resolved.
 * Completes `ready` when every node has a socket, or can have none, and every name was tried. Tries again while names
 * have no address, as on a machine that was started without a network.
 */
const join = Effect.fnUntraced(function* (
  nodes: ReadonlyArray<DhtNode.DhtNode>,
  { bootstrap = defaultRouters, lookup }: DhtOptions,
  ready: Deferred.Deferred<void>
) {
  const routers: Array<PeerAddress> = []
  const tell = (fresh: ReadonlyArray<PeerAddress>): void => {
    routers.push(...fresh)
    for (const node of nodes) {
      const isOurs = (address: PeerAddress) => CompactPeers.familyOf(address) === node.machine.family
      if (fresh.some(isOurs)) node.act((now) => DhtMachine.bootstrap(node.machine, routers.filter(isOurs), now))
    }
  }
  const resolveAndTell = (address: PeerAddress) =>
    Effect.tap(resolve(address, lookup), (found) => Effect.sync(() => tell(found)))
  const hasAddress = (address: PeerAddress) => CompactPeers.familyOf(address) !== undefined
  tell(bootstrap.filter(hasAddress))
  let unresolved = bootstrap.filter((address) => !hasAddress(address))
  let seconds = minResolveSeconds
  while (true) {
    const found = yield* Effect.forEach(unresolved, resolveAndTell, { concurrency: 4 })
    unresolved = unresolved.filter((_, index) => found[index]!.length === 0)
    yield* Effect.forEach(nodes, ({ opened }) => opened, { discard: true })
    yield* Deferred.succeed(ready, undefined)
    if (lookup === undefined || unresolved.length === 0) return
    do yield* Effect.sleep(`${seconds} seconds`)
    while (!nodes.every(({ machine }) => DhtMachine.knowsFew(machine)))
    seconds = Math.min(maxResolveSeconds, seconds * 2)
  }
})

/** How long a router's name may take to resolve. */
const lookupTimeout: Duration.Input = "10 seconds"

/** The addresses of a router: none if its name cannot be resolved. */
const resolve = (address: PeerAddress, lookup: DhtOptions["lookup"]): Effect.Effect<ReadonlyArray<PeerAddress>> => {
  if (CompactPeers.familyOf(address) !== undefined) return Effect.succeed([address])
  if (lookup === undefined) return Effect.succeed([])
  return lookup(address).pipe(
    Effect.timeout(lookupTimeout),
    Effect.catch((error) =>
      Effect.as(
        Effect.logDebug(`the DHT's router ${PeerAddresses.format(address)} has no address: ${String(error)}`),
        []
      )
    )
  )
}
