/**
 * Connections in memory: a network of simulated hosts, each with a `Dialer` and a `Listener`, driven by Effect's
 * `Clock`.
 *
 * Deterministic: the order of events follows from the program and the clock, and every random choice (the places at
 * which the stream is cut into chunks) from one seed. Without latency or bandwidth limits bytes arrive after a few
 * turns of the scheduler, so a plain test moves no clock; with them, `TestClock.adjust` moves the bytes.
 *
 * Addresses are only names: no host is special, and `127.0.0.1` is the host of the plain `Dialer` and `Listener`. A
 * link's bandwidth is shared by the connections between its two hosts. `MemoryConnection.ts` defines how a connection
 * behaves.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Prng from "../base/Prng.ts"
import * as AcceptQueue from "../network/AcceptQueue.ts"
import * as Transport from "../network/Transport.ts"
import { ConnectionError, Dialer, Listener } from "../network/Transport.ts"
import type { Lane, Link, Medium } from "./MemoryConnection.ts"
import * as MemoryConnection from "./MemoryConnection.ts"
import * as Timeline from "./Timeline.ts"

export type { Prng } from "../base/Prng.ts"

/** How bytes travel between two hosts, each way. */
export interface LinkOptions {
  /** From one end to the other, one way. Default: none. */
  readonly latency: Duration.Input
  /** Default `undefined`: no limit. */
  readonly bytesPerSecond: number | undefined
}

/** What a network is like. */
export interface Options {
  /** Every random choice follows from it. Default 1. */
  readonly seed?: number | undefined
  /**
   * Length of a chunk as a sink receives it: fixed, or drawn for each. Default: 1 to 32,768, one chunk in eight at most
   * 20 bytes, so that headers are cut. At most 65,536.
   */
  readonly chunkBytes?: number | ((random: Prng.Prng) => number) | undefined
  /** What links are like until `link` changes one. */
  readonly link?: Partial<LinkOptions> | undefined
  /** What connecting costs besides the round trip. Default: nothing. */
  readonly connectDelay?: Duration.Input | undefined
  /** `writeUnsafe` returns `false` from this many unsent bytes on. Default 65,536. */
  readonly sendBufferBytes?: number | undefined
  /**
   * Bytes under way, or arrived but not accepted, per direction of a connection; more waits at the sender. Default
   * 262,144. Only a window of latency times bandwidth fills a long and fast link.
   */
  readonly windowBytes?: number | undefined
}

/** What is in use: all 0 when nothing leaks. */
export interface Counts {
  /** Ends that were not closed at their own side, by scope or port, even if the remote side has closed. */
  readonly connections: number
  /** Calls of `connect` that have not ended. */
  readonly dials: number
  /** Open ports. */
  readonly listening: number
  /** Incoming connections that were not accepted yet. */
  readonly waiting: number
}

/** The control of a simulated network. Without `b`, every other host is meant. */
export class MemoryNetwork extends Context.Service<
  MemoryNetwork,
  {
    /** The dialer and listener of the host at `address`; the network is the same for all. */
    readonly host: (address: string) => {
      readonly dialer: Context.Service.Shape<typeof Dialer>
      readonly listener: Context.Service.Shape<typeof Listener>
    }
    /** Changes the link between two hosts, both ways, from now on; what is under way keeps its time. */
    readonly link: (a: string, b: string, options: Partial<LinkOptions>) => Effect.Effect<void>
    /** Breaks the connections between `a` and `b` at both ends: `connection reset`. New ones can be made. */
    readonly cut: (a: string, b?: string) => Effect.Effect<void>
    /** Nothing arrives any more, without an error: connections stall, and dials hang until `heal`. */
    readonly partition: (a: string, b?: string) => Effect.Effect<void>
    /** Ends the same `partition`: what was held back arrives, in order. */
    readonly heal: (a: string, b?: string) => Effect.Effect<void>
    readonly counts: Effect.Effect<Counts>
  }
>()("piecewise/testing/MemoryNetwork") {}

/** The host of the plain `Dialer` and `Listener` of `layer`. */
export const defaultHost = "127.0.0.1"

/** Largest chunk; the scratch buffer is this large. */
const maxChunkBytes = 65_536

const defaultChunkBytes = (random: Prng.Prng): number => Prng.between(random, 1, random() < 0.125 ? 20 : 32_768)

/** First of the ports that a host chooses by itself (RFC 6335, section 6). */
const firstEphemeralPort = 49_152

/** An end as its owner sees it: closing it removes it from `ends`. */
interface Owned extends AcceptQueue.Incoming {
  readonly breakUnsafe: (why: string) => void
  readonly hosts: readonly [string, string]
}

/** The state of a network. */
interface State {
  readonly medium: Medium
  readonly seed: number
  readonly connectMillis: number
  readonly defaultLink: Partial<LinkOptions>
  readonly links: Map<string, Link>
  readonly ports: Map<string, AcceptQueue.AcceptQueue<Owned>>
  /** Every end that is not closed, including those that were not accepted. */
  readonly ends: Set<Owned>
  readonly partitions: Set<string>
  nextPort: number
  pairs: number
  dials: number
}

const make = Effect.fnUntraced(function* (options: Options) {
  const { chunkBytes = defaultChunkBytes } = options
  const drawChunk = typeof chunkBytes === "number" ? () => chunkBytes : chunkBytes
  const partitions = new Set<string>()
  const state: State = {
    medium: {
      timeline: yield* Timeline.make,
      isInterrupted: ({ from, to }) =>
        partitions.has(pairKey(from, to)) || (from !== to && (partitions.has(from) || partitions.has(to))),
      chunkBytes: (random) => Math.max(1, Math.min(maxChunkBytes, drawChunk(random))),
      scratch: new Uint8Array(maxChunkBytes + MemoryConnection.maxOffset),
      sendBufferBytes: options.sendBufferBytes ?? 65_536,
      windowBytes: options.windowBytes ?? 262_144
    },
    seed: options.seed ?? 1,
    connectMillis: Duration.toMillis(options.connectDelay ?? 0),
    defaultLink: options.link ?? {},
    links: new Map(),
    ports: new Map(),
    ends: new Set(),
    partitions,
    nextPort: firstEphemeralPort,
    pairs: 0,
    dials: 0
  }

  return MemoryNetwork.of({
    host: (address) => ({
      dialer: Dialer.of({ connect: (to) => connect(state, address, to) }),
      listener: Listener.of({ listen: (where) => listen(state, address, where) })
    }),
    link: (a, b, options) =>
      Effect.sync(() => {
        for (const link of linksBetween(state, a, b))
          Object.assign(link, linkFields({ ...optionsOf(link), ...options }))
      }),
    cut: (a, b) =>
      Effect.sync(() => {
        for (const { hosts, breakUnsafe } of state.ends) {
          const [from, to] = hosts
          const isMeant = b === undefined ? from === a || to === a : pairKey(from, to) === pairKey(a, b)
          if (isMeant) breakUnsafe("connection reset")
        }
      }),
    partition: (a, b) => Effect.sync(() => partitions.add(b === undefined ? a : pairKey(a, b))),
    heal: (a, b) =>
      Effect.sync(() => {
        partitions.delete(b === undefined ? a : pairKey(a, b))
        for (const link of state.links.values()) {
          if (state.medium.isInterrupted(link)) continue
          // Before all that is due: what was held back was sent first.
          for (const land of link.held.splice(0)) state.medium.timeline.scheduleUnsafe(0, land)
        }
      }),
    counts: Effect.sync(() => {
      let waiting = 0
      for (const port of state.ports.values()) waiting += port.waiting.length
      return { connections: state.ends.size, dials: state.dials, listening: state.ports.size, waiting }
    })
  })
})

const pairKey = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`)

const linkFields = (options: Partial<LinkOptions>): Pick<Link, "latencyMillis" | "bytesPerSecond"> => ({
  latencyMillis: Duration.toMillis(options.latency ?? 0),
  bytesPerSecond: options.bytesPerSecond
})

const optionsOf = (link: Link): LinkOptions => ({ latency: link.latencyMillis, bytesPerSecond: link.bytesPerSecond })

/**
 * The link of `from` to `to`. A host has two links to itself, because its dialling and its listening side do not share
 * one.
 */
const linkOf = (state: State, from: string, to: string, isBack: boolean): Link => {
  const key = `${from} ${to}${from === to && isBack ? " back" : ""}`
  const known = state.links.get(key)
  if (known !== undefined) return known
  const link: Link = { from, to, busyUntil: 0, held: [], ...linkFields(state.defaultLink) }
  state.links.set(key, link)
  return link
}

const linksBetween = (state: State, a: string, b: string): ReadonlyArray<Link> => [
  linkOf(state, a, b, false),
  linkOf(state, b, a, true)
]

/** A free port of `host` from the range that hosts choose from. */
const ephemeralPort = (state: State, host: string): number => {
  while (true) {
    const port = state.nextPort
    state.nextPort = port === 65_535 ? firstEphemeralPort : port + 1
    if (!state.ports.has(PeerAddress.format({ host, port }))) return port
  }
}

/** Counts `end` until its owner closes it. */
const book = (state: State, end: MemoryConnection.End, hosts: readonly [string, string]): Owned => {
  const owned: Owned = {
    connection: end.connection,
    breakUnsafe: end.breakUnsafe,
    hosts,
    closeUnsafe: () => {
      state.ends.delete(owned)
      end.closeUnsafe()
    }
  }
  state.ends.add(owned)
  return owned
}

/** A dial under way: the ends exist once the listening side has answered. */
interface Dial {
  readonly answer: Deferred.Deferred<Owned, ConnectionError>
  isWanted: boolean
  end: Owned | undefined
}

const connect = Effect.fnUntraced(function* (state: State, from: string, to: PeerAddress.PeerAddress) {
  const scope = yield* Effect.scope
  const dial: Dial = { answer: Deferred.makeUnsafe(), isWanted: true, end: undefined }
  return yield* Effect.uninterruptibleMask((restore) => {
    state.dials++
    const { timeline } = state.medium
    timeline.scheduleUnsafe(timeline.nowUnsafe() + state.connectMillis, () => knock(state, dial, from, to))
    return restore(Deferred.await(dial.answer)).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          state.dials--
          if (exit._tag === "Success") return
          dial.isWanted = false
          dial.end?.closeUnsafe()
        })
      ),
      Effect.flatMap((end) => AcceptQueue.own(scope, end))
    )
  })
})

/** Asks at the other host's port, and returns the answer. */
const knock = (state: State, dial: Dial, from: string, to: PeerAddress.PeerAddress): void => {
  if (!dial.isWanted) return
  const there: Lane = { link: linkOf(state, from, to.host, false), lastArrival: 0 }
  const back: Lane = { link: linkOf(state, to.host, from, true), lastArrival: 0 }
  MemoryConnection.carry(state.medium, there, 0, () => {
    if (!dial.isWanted) return
    const port = state.ports.get(PeerAddress.format(to))
    if (port !== undefined) dial.end = meet(state, port, from, to)
    const answer =
      dial.end === undefined
        ? Effect.fail(new ConnectionError({ address: to, why: "connection refused" }))
        : Effect.succeed(dial.end)
    MemoryConnection.carry(state.medium, back, 0, () => Deferred.doneUnsafe(dial.answer, answer))
  })
}

/** Makes a connection, passes one end to `port` and returns the other. */
const meet = (state: State, port: AcceptQueue.AcceptQueue<Owned>, from: string, to: PeerAddress.PeerAddress): Owned => {
  const pair = state.pairs++
  const [near, far] = MemoryConnection.makePair(state.medium, {
    left: { host: from, port: ephemeralPort(state, from) },
    right: to,
    toRight: linkOf(state, from, to.host, false),
    toLeft: linkOf(state, to.host, from, true),
    randoms: [Prng.fork(state.seed, 2 * pair), Prng.fork(state.seed, 2 * pair + 1)]
  })
  const incoming = book(state, far, [from, to.host])
  if (!AcceptQueue.offerUnsafe(port, incoming)) incoming.closeUnsafe()
  return book(state, near, [from, to.host])
}

const listen = Effect.fnUntraced(function* (
  state: State,
  host: string,
  where: { readonly port: number; readonly backlog?: number | undefined }
) {
  const address: PeerAddress.PeerAddress = { host, port: where.port === 0 ? ephemeralPort(state, host) : where.port }
  const key = PeerAddress.format(address)
  if (state.ports.has(key)) {
    return yield* new ConnectionError({ address, why: `port ${address.port} is in use` })
  }
  const queue = AcceptQueue.make<Owned>(where.backlog ?? Transport.defaultBacklog)
  yield* Effect.acquireRelease(
    Effect.sync(() => state.ports.set(key, queue)),
    () =>
      Effect.sync(() => {
        state.ports.delete(key)
        AcceptQueue.closeUnsafe(queue)
      })
  )
  return { address, accept: AcceptQueue.accept(queue) }
})

/**
 * `Dialer` and `Listener` of the host at `address`, in the current network. It dials from that address and listens at
 * that address, whatever `host` it is asked to listen on.
 */
export const host = (address: string): Layer.Layer<Dialer | Listener, never, MemoryNetwork> =>
  Layer.effectContext(
    Effect.map(MemoryNetwork, (network) => {
      const { dialer, listener } = network.host(address)
      return Context.make(Dialer, dialer).pipe(Context.add(Listener, listener))
    })
  )

/**
 * A network of its own, with the `Dialer` and `Listener` of `defaultHost`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { Transport } from "piecewise"
 * import { MemoryNetwork } from "piecewise/testing"
 *
 * const program = Effect.gen(function* () {
 *   const listener = yield* Transport.Listener
 *   const { accept, address } = yield* listener.listen({ host: MemoryNetwork.defaultHost, port: 6881 })
 *   const { cut, host } = yield* MemoryNetwork.MemoryNetwork
 *   const connection = yield* host("10.0.0.1").dialer.connect(address)
 *   const { remote } = yield* accept
 *   assert.equal(remote.host, "10.0.0.1")
 *
 *   connection.receiveUnsafe(() => true)
 *   yield* cut("10.0.0.1")
 *   const { why } = yield* Effect.flip(connection.closed)
 *   assert.equal(why, "connection reset")
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryNetwork.layer({ seed: 7 }))))
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<Dialer | Listener | MemoryNetwork> =>
  Layer.provideMerge(host(defaultHost), Layer.effect(MemoryNetwork, make(options)))
