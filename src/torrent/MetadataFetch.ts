/**
 * Fetches the info dict that a magnet link names from the peers that have it (BEP 9): finds addresses, asks several peers
 * at once, and believes nobody before the digest is right. The torrent itself starts after that, with the addresses that
 * were found.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import * as ConnectionLimit from "../connect/ConnectionLimit.ts"
import * as Dial from "../connect/Dial.ts"
import * as Introduction from "../connect/Introduction.ts"
import * as OwnedFibers from "../connect/OwnedFibers.ts"
import type { PeerSource, PeerSourceEvent } from "../discovery/PeerSource.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as MetadataExchange from "../peer/MetadataExchange.ts"
import * as MetadataSession from "../peer/MetadataSession.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import * as PeerBook from "../swarm/PeerBook.ts"
import { Dialer } from "../transport/Transport.ts"

/** Peers that are asked at once. The info dict is small: more would only be a burden to the swarm. */
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
  readonly sources: ReadonlyArray<PeerSource>
  readonly random: () => number
  /** The connections that all torrents of an engine may have. */
  readonly connections: ConnectionLimit.ConnectionLimit
  /** Hears of every change, and of what sources say. */
  readonly report?: ((progress: Progress, event: PeerSourceEvent | undefined) => void) | undefined
}

/** The info dict, and every address that was found meanwhile. */
export interface Fetched {
  /** The bytes of the info dict; their SHA-1 is the info hash. */
  readonly info: Uint8Array
  readonly addresses: ReadonlyArray<PeerAddress>
}

/** Fetches; goes on until some peer has given the right bytes. Everything it started ends with it. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const dialer = yield* Dialer
  const hasher = yield* PieceHasher
  const clock = yield* Clock.Clock
  const book = PeerBook.make(options.random)
  const exchange = MetadataExchange.make()
  const sessions = new Map<number, MetadataSession.MetadataSession>()
  // As many as an exchange has at a time, and the one that it keeps.
  const copies = yield* Queue.bounded<MetadataExchange.Copy>(MetadataExchange.maxSoleCopies + 1)
  const found = yield* Deferred.make<Uint8Array>()
  const awake = yield* Latch.make(true)
  const fibers = yield* OwnedFibers.make<number>()
  const share = ConnectionLimit.share()
  const { infoHash, peerId } = options
  const ourselves: Introduction.Ourselves = { infoHash, peerId, features: MetadataSession.features }
  let running = 0

  const tell = (event?: PeerSourceEvent): void =>
    options.report?.({ peers: sessions.size, knownPeers: book.peers.size }, event)

  const drop = (key: number, why: string): void => sessions.get(key)?.failUnsafe(new PeerDropped({ why }))

  /** Does what follows from a fact. */
  const advance = (now: number): void => {
    for (const action of MetadataExchange.step(exchange, now)) {
      switch (action._tag) {
        case "Request":
          sessions.get(action.peer)?.request(action.piece)
          break
        case "Verify":
          Queue.offerUnsafe(copies, action.copy)
          break
        case "Drop":
          drop(action.peer, action.why)
          break
        case "Ban": {
          const peer = book.peers.get(action.peer)
          if (peer !== undefined) PeerBook.ban(book, peer, now)
          drop(action.peer, action.why)
        }
      }
    }
    if (exchange.info !== undefined) Deferred.doneUnsafe(found, Effect.succeed(exchange.info))
  }

  const verify = Effect.gen(function* () {
    while (true) {
      const copy = yield* Queue.take(copies)
      const digest = yield* hasher.sha1(copy.bytes)
      MetadataExchange.verified(exchange, copy, Bytes.equals(digest, options.infoHash))
      advance(Monotonic.nowUnsafe(clock))
    }
  })

  const session = Effect.fnUntraced(
    function* (peer: PeerBook.Peer) {
      const { key } = peer
      const connection = yield* Dial.connect(dialer, peer.address)
      yield* MetadataSession.run({
        introduced: yield* Introduction.dialled(connection, ourselves),
        onOpen: (session, size) => {
          const now = Monotonic.nowUnsafe(clock)
          sessions.set(key, session)
          PeerBook.connected(peer)
          MetadataExchange.join(exchange, key, size, now)
          tell()
          advance(now)
        },
        onMessage: (message) => {
          const now = Monotonic.nowUnsafe(clock)
          MetadataExchange.receive(exchange, key, message, now)
          advance(now)
        }
      })
    },
    Effect.scoped,
    ConnectionLimit.withConnection(options.connections, share)
  )

  const ended = (peer: PeerBook.Peer) =>
    Effect.sync(() => {
      const wasOpen = sessions.delete(peer.key)
      running--
      PeerBook.disconnected(book, peer, Monotonic.nowUnsafe(clock), wasOpen)
      MetadataExchange.leave(exchange, peer.key)
      tell()
      Latch.openUnsafe(awake)
    })

  const dial = Effect.gen(function* () {
    while (true) {
      Latch.closeUnsafe(awake)
      const now = Monotonic.nowUnsafe(clock)
      const peer = running < maxConnections ? PeerBook.nextToDial(book, now) : undefined
      if (peer !== undefined) {
        PeerBook.dialing(peer)
        running++
        yield* OwnedFibers.run(fibers, peer.key, session(peer), () => ended(peer))
      } else {
        const dialAt = PeerBook.nextDialAt(book)
        yield* dialAt === undefined || running >= maxConnections
          ? awake.await
          : Effect.timeoutOrElse(awake.await, { duration: dialAt - now, orElse: () => Effect.void })
      }
    }
  })

  const listen = (source: PeerSource) =>
    source
      .peers({
        completed: Effect.never,
        wantsMore: () => sessions.size === 0,
        facts: () => ({ downloaded: 0, uploaded: 0, left: 1 })
      })
      .pipe(
        Stream.runForEach((event) =>
          Effect.sync(() => {
            const now = Monotonic.nowUnsafe(clock)
            if (event._tag === "Peers") for (const address of event.addresses) PeerBook.add(book, address, now)
            tell(event)
            Latch.openUnsafe(awake)
          })
        )
      )

  const tick = Effect.sync(() => {
    const now = Monotonic.nowUnsafe(clock)
    if (PeerBook.pardon(book, now)) Latch.openUnsafe(awake)
    advance(now)
  })
  const loops = Effect.all(
    [dial, verify, Effect.repeat(tick, Schedule.spaced("1 second")), ...options.sources.map(listen)],
    { concurrency: "unbounded", discard: true }
  )
  // Of a defect in a loop this dies, instead of waiting for ever.
  const info = yield* Effect.raceFirst(Deferred.await(found), Effect.andThen(loops, Effect.never))
  const addresses = [...book.peers.values()].filter(({ state }) => state !== "banned").map(({ address }) => address)
  const fetched: Fetched = { info, addresses }
  return fetched
}, Effect.scoped)
