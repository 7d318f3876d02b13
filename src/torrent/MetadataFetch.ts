/**
 * Fetches the info dict that a magnet link names from the peers that have it (BEP 9): a swarm that exchanges metadata alone.
 * It asks several peers at once, and believes none before the digest is right. The torrent itself starts after that, with
 * the addresses that were found.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { ConnectionLimit } from "../connect/ConnectionLimit.ts"
import type { PeerSource, PeerSourceEvent } from "../discovery/PeerSource.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import type { ListeningPort } from "../network/ListeningPort.ts"
import * as MetadataExchange from "../peer/MetadataExchange.ts"
import * as MetadataSession from "../peer/MetadataSession.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import * as SupplierId from "../supply/SupplierId.ts"
import * as Swarm from "../swarm/Swarm.ts"

/** Peers that are dialled and asked at once. The info dict is small: more would only be a burden to them. */
export const maxConnections = 20

/** How a fetch stands. */
export interface Progress {
  /** Peers connected that say they have the info dict. */
  readonly peers: number
  readonly knownPeers: number
}

/** What is fetched, and from whom. */
export interface Options {
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  /** The port that sources announce. */
  readonly port: ListeningPort
  /** The trackers that the link names, in tiers. */
  readonly trackers?: ReadonlyArray<ReadonlyArray<string>> | undefined
  readonly sources: ReadonlyArray<PeerSource>
  readonly random: () => number
  /** The connections that all torrents of an engine may have. */
  readonly connections: ConnectionLimit
  /** Hears of every change, and of what sources say. */
  readonly report?: ((progress: Progress, event: PeerSourceEvent | undefined) => void) | undefined
}

/** The info dict, and every address that was found meanwhile. */
export interface Fetched {
  /** The bytes of the info dict; their SHA-1 is the info hash. */
  readonly info: Uint8Array
  readonly addresses: ReadonlyArray<PeerAddress>
}

/** Fetches until some peer has given the right bytes. Everything that it started ends with it. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { infoHash } = options
  const hasher = yield* PieceHasher
  const clock = yield* Clock.Clock
  const exchange = MetadataExchange.make()
  // As many as an exchange has at a time, and the one that it keeps.
  const copies = yield* Queue.bounded<MetadataExchange.Copy>(MetadataExchange.maxSoleCopies + 1)
  const found = yield* Deferred.make<Uint8Array>()

  const swarm = yield* Swarm.make<MetadataSession.MetadataSession>({
    infoHash,
    peerId: options.peerId,
    // A fetch accepts no connections.
    port: () => undefined,
    random: options.random,
    ids: SupplierId.makeIds(),
    maxConnections,
    maxDialing: maxConnections,
    connections: options.connections,
    dialAddress: () => undefined,
    report: () => tell()
  })
  const { members } = swarm.roster

  const tell = (event?: PeerSourceEvent): void =>
    options.report?.({ peers: members.size, knownPeers: swarm.book.peers.size }, event)

  /** Does what follows from a fact. */
  const advance = (now: number): void => {
    for (const action of MetadataExchange.step(exchange, now)) {
      switch (action._tag) {
        case "Request":
          members.get(action.peer)?.request(action.piece)
          break
        case "Verify":
          Queue.offerUnsafe(copies, action.copy)
          break
        case "Drop":
          members.get(action.peer)?.failUnsafe(new PeerDropped({ why: action.why }))
          break
        case "Ban":
          Swarm.ban(swarm, action.peer, action.why)
      }
    }
    if (exchange.info !== undefined) Deferred.doneUnsafe(found, Effect.succeed(exchange.info))
  }

  const verify = Effect.gen(function* () {
    while (true) {
      const copy = yield* Queue.take(copies)
      const digest = yield* hasher.sha1(copy.bytes)
      MetadataExchange.verified(exchange, copy, Bytes.equals(digest, infoHash))
      advance(Monotonic.nowUnsafe(clock))
    }
  })

  const listen = (source: PeerSource) =>
    source
      .peers({
        infoHash,
        peerId: options.peerId,
        port: options.port,
        isPrivate: false,
        trackers: options.trackers ?? [],
        allTiers: true,
        completed: Effect.never,
        wantsMore: () => members.size === 0,
        facts: () => ({ downloaded: 0, uploaded: 0, left: 1 })
      })
      .pipe(
        Stream.runForEach((event) =>
          Effect.sync(() => {
            if (event._tag === "Peers") Swarm.add(swarm, event.addresses)
            tell(event)
          })
        )
      )

  const exchanging = Swarm.run(swarm, {
    features: MetadataSession.features,
    wantsPeers: () => exchange.info === undefined,
    // A silent liar with the peer id of an honest peer must not keep that one out.
    admit: () => undefined,
    converse: (key, introduced, join) =>
      MetadataSession.run({
        introduced,
        onOpen: join,
        onSize: (size) => {
          const now = Monotonic.nowUnsafe(clock)
          MetadataExchange.join(exchange, key, size, now)
          advance(now)
        },
        onMessage: (message) => {
          const now = Monotonic.nowUnsafe(clock)
          MetadataExchange.receive(exchange, key, message, now)
          advance(now)
        }
      }),
    left: (key) => {
      MetadataExchange.leave(exchange, key)
      return true
    },
    isDone: () => false,
    tick: (now) => Effect.sync(() => advance(now))
  })
  const loops = Effect.all([exchanging, verify, ...options.sources.map(listen)], {
    concurrency: "unbounded",
    discard: true
  })
  // Of a defect in a loop this dies, instead of waiting for ever.
  const info = yield* Effect.raceFirst(Deferred.await(found), Effect.andThen(loops, Effect.never))
  const known = [...swarm.book.peers.values()]
  const fetched: Fetched = {
    info,
    addresses: known.filter(({ state }) => state !== "banned").map(({ address }) => address)
  }
  return fetched
}, Effect.scoped)
