/**
 * Fetches the info dict of a magnet link from peers that have it (BEP 9), with a swarm that exchanges only metadata.
 * Asks several peers at once, and trusts no bytes until their digest is right. Beside them it asks the sources of
 * metadata, such as URLs that the link names; the first that is right ends the others. The torrent starts afterwards,
 * with the addresses that were found.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as MetadataLimit from "../base/MetadataLimit.ts"
import * as Monotonic from "../base/Monotonic.ts"
import * as Naming from "../base/Naming.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import * as Signal from "../base/Signal.ts"
import * as BencodeSpan from "../bencode/BencodeSpan.ts"
import * as Encryption from "../connect/Encryption.ts"
import type { Accept } from "../connect/Incoming.ts"
import type { OwnAddresses } from "../connect/OwnAddresses.ts"
import * as OwnedFibers from "../connect/OwnedFibers.ts"
import type { Places } from "../connect/Places.ts"
import type { MetadataSource } from "../discovery/MetadataSource.ts"
import { MetadataSources } from "../discovery/MetadataSource.ts"
import type { PeerSource, PeerSourceEvent } from "../discovery/PeerSource.ts"
import * as SourceRun from "../discovery/SourceRun.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as ListeningPort from "../network/ListeningPort.ts"
import type { OurNode } from "../peer/DhtContact.ts"
import type { MetadataCopy } from "../peer/MetadataCopy.ts"
import * as MetadataExchange from "../peer/MetadataExchange.ts"
import * as MetadataSession from "../peer/MetadataSession.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import * as SupplierId from "../supply/SupplierId.ts"
import * as Addresses from "../swarm/Addresses.ts"
import * as Candidate from "../swarm/Candidate.ts"
import * as Encounters from "../swarm/Encounters.ts"
import * as HangUps from "../swarm/HangUps.ts"
import { PeerPolicy } from "../swarm/PeerPolicy.ts"
import * as Swarm from "../swarm/Swarm.ts"
import * as Sources from "./Sources.ts"

/** How many peers are dialled and asked at once. The info dict is small, so more would only burden them. */
export const maxConnections = 20

/** How far a fetch is. */
export interface Progress {
  /** Connected peers that say that they have the info dict. */
  readonly peers: number
  readonly knownPeers: number
  /** Known peers that closed our latest connection before the handshake. Encryption may be the reason. */
  readonly closedPeers: number
  /** How connections to peers are encrypted. */
  readonly encryption: Encryption.Policy
  /** Whether the metadata may still be found elsewhere than at peers, such as at a URL that the link names. */
  readonly isAskingElsewhere: boolean
}

/** What is fetched, and from whom. */
export interface Options {
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  /** The port that sources announce. */
  readonly port: ListeningPort.ListeningPort
  /** The trackers that the link names, in tiers. */
  readonly trackers?: ReadonlyArray<ReadonlyArray<string>> | undefined
  readonly sources: ReadonlyArray<PeerSource<unknown>>
  /** The URLs of torrent files that the link names, best first. */
  readonly urls?: ReadonlyArray<string> | undefined
  /** The most bytes of an info dict, and of a torrent file; default `MetadataLimit.defaultMaxBytes`. */
  readonly maxBytes?: number | undefined
  /** Our node of the DHT (BEP 5); default: there is none. */
  readonly dht?: OurNode | undefined
  readonly random: () => number
  /** Our own addresses, which all torrents of an engine share; default none. */
  readonly own?: OwnAddresses | undefined
  /** The places that all torrents of an engine share. */
  readonly places: Places
  /** Lets peers that connect to us join, until the scope closes; default: none do. */
  readonly listen?: ((accept: Accept) => Effect.Effect<void, never, Scope.Scope>) | undefined
  /** Called after every change, and with each event of a source. */
  readonly report?: ((progress: Progress, event: PeerSourceEvent | undefined) => void) | undefined
}

/** The info dict, and the addresses that were found during the fetch. */
export interface Fetched extends Found {
  /**
   * All of them, without names from others than the user, of which nobody would know any more where they may lead.
   */
  readonly addresses: ReadonlyArray<PeerAddress>
  /** Those from the user alone. A private torrent has the others from its tracker (BEP 27). */
  readonly given: ReadonlyArray<PeerAddress>
}

interface Found {
  /** The bytes of the info dict; their SHA-1 is the info hash. */
  readonly info: Uint8Array
  /** The torrent file that the info dict comes from, unless it comes from peers. Only its info dict is verified. */
  readonly file: Metainfo.Metainfo | undefined
}

/** Fetches until a peer or a source has sent the right bytes, and then ends everything that it started. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { infoHash, maxBytes = MetadataLimit.defaultMaxBytes, trackers = [], urls = [] } = options
  const hasher = yield* PieceHasher
  const clock = yield* Clock.Clock
  const exchange = MetadataExchange.make(maxBytes)
  // Room for the copies that an exchange has at a time, and the one that it keeps.
  const copies = yield* Queue.bounded<MetadataCopy>(MetadataExchange.maxSoleCopies + 1)
  const found = yield* Deferred.make<Found>()

  const encryption = yield* Encryption.current
  const swarm = Swarm.make<MetadataSession.MetadataSession>({
    encryption,
    fibers: yield* OwnedFibers.make<number>(),
    clock,
    infoHash,
    peerId: options.peerId,
    port: () => ListeningPort.current(options.port) || undefined,
    random: options.random,
    ids: SupplierId.makeIds(),
    maxConnections,
    maxDialing: maxConnections,
    own: options.own,
    places: options.places,
    dialAddress: (session) => session.dialAddress(),
    policy: { policy: yield* PeerPolicy, onDefect: (defect) => void Deferred.doneUnsafe(found, Effect.die(defect)) },
    report: () => reportChange()
  })
  yield* Effect.addFinalizer(() => Encounters.endAll(swarm.encounters))
  const { members } = swarm.roster

  const elsewhere = yield* MetadataSources
  let asking = elsewhere.length

  let hasReported = false
  const reportChange = (event?: PeerSourceEvent): void => {
    hasReported = true
    options.report?.(
      {
        peers: members.size,
        knownPeers: swarm.book.peers.size,
        closedPeers: HangUps.count(swarm.hangUps, swarm.book),
        encryption: encryption.policy,
        isAskingElsewhere: asking > 0
      },
      event
    )
  }

  /** Advances the exchange and performs its actions. */
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
    if (exchange.info !== undefined) {
      Deferred.doneUnsafe(found, Effect.succeed({ info: exchange.info, file: undefined }))
    }
  }

  const verify = Effect.gen(function* () {
    while (true) {
      const copy = yield* Queue.take(copies)
      const digest = yield* hasher.sha1(copy.bytes)
      MetadataExchange.verified(exchange, copy, Bytes.equals(digest, infoHash))
      advance(Monotonic.nowUnsafe(clock))
    }
  })

  const listen = (from: PeerSource<unknown>) =>
    SourceRun.run(
      from,
      {
        infoHash,
        peerId: options.peerId,
        port: options.port,
        encryption: encryption.policy,
        isPrivate: false,
        trackers,
        allTiers: true,
        completed: Effect.never,
        wantsMore: () => members.size === 0,
        facts: () => ({ downloaded: 0, uploaded: 0, left: 1 })
      },
      (event) =>
        Effect.sync(() => {
          if (event._tag === "Peers") {
            const origin = Sources.originOf(from, event)
            Sources.notePreferences(encryption, event, origin)
            Addresses.add(swarm, event.addresses, origin)
          }
          reportChange(event)
        })
    )

  /** Takes the first torrent file of a source that has the info hash. */
  const ask = ({ metadata }: MetadataSource) =>
    metadata({ infoHash, urls, maxBytes }).pipe(
      Stream.runForEach(
        Effect.fnUntraced(function* (bytes) {
          // Parsing a file of these sizes takes seconds, so only the torrent itself is parsed.
          const span = BencodeSpan.find(bytes, "info")
          if (span === undefined || !Bytes.equals(yield* hasher.sha1(span), infoHash)) {
            return yield* Effect.logDebug("A file that was found for a magnet link is not its torrent.")
          }
          const file = Option.getOrUndefined(yield* Effect.option(Metainfo.fromBytes(bytes, { maxBytes })))
          // The info dict is the right one, even if the rest of the file is damaged.
          Deferred.doneUnsafe(found, Effect.succeed({ info: file?.infoBytes ?? span.slice(), file }))
        })
      ),
      Effect.andThen(
        Effect.sync(() => {
          asking--
          // Without URLs, a source that has none ends before anything can have changed.
          if (urls.length > 0) reportChange()
        })
      )
    )

  const meeting: Swarm.Exchange<MetadataSession.MetadataSession> = {
    features: { ...MetadataSession.features, dht: options.dht !== undefined },
    wantsPeers: () => exchange.info === undefined,
    // No check for equal peer ids: a liar with the peer id of an honest peer must not keep that peer out.
    admit: () => undefined,
    converse: (key, introduced, join) =>
      MetadataSession.run({
        introduced,
        dht: options.dht,
        prefersEncryption: encryption.policy !== "off",
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
    // `MetadataExchange` drops peers that do not answer.
    useOf: ({ openedAt }, now) => ({ idleMillis: now - openedAt, isUseless: false }),
    isDone: () => false
  }
  yield* Effect.provideService(Swarm.run(swarm, meeting), Signal.Defects, (defect) =>
    Effect.asVoid(Deferred.die(found, defect))
  )
  yield* options.listen?.((caller, scope) => Swarm.accept(swarm, meeting, caller, scope)) ?? Effect.void
  const ticking = Effect.gen(function* () {
    while (true) {
      const now = Monotonic.nowUnsafe(clock)
      Swarm.tick(swarm, now)
      advance(now)
      yield* Effect.sleep("1 second")
      // Peers may be found much later, if at all.
      if (!hasReported) reportChange()
    }
  })
  if (urls.length > 0) reportChange()
  const loops = Effect.all([ticking, verify, ...options.sources.map(listen), ...elsewhere.map(ask)], {
    concurrency: "unbounded",
    discard: true
  })
  // A defect in one of the loops fails the fetch; otherwise it would wait for ever.
  const first = yield* Effect.raceFirst(Deferred.await(found), Effect.andThen(loops, Effect.never))
  const fetched: Fetched = { ...first, ...addressesOf(swarm) }
  return fetched
}, Effect.scoped)

/** The addresses of a swarm, and those that the user gave. */
const addressesOf = ({
  book,
  roster
}: Swarm.Swarm<MetadataSession.MetadataSession>): Pick<Fetched, "addresses" | "given"> => {
  const addresses: Array<PeerAddress> = []
  const given: Array<PeerAddress> = []
  for (const { address, isDialable, key, origin, state } of book.peers.values()) {
    if (state === "banned" || state === "ourselves") continue
    const listening = isDialable ? address : roster.members.get(key)?.dialAddress()
    if (listening === undefined) continue
    if (Candidate.reachOf(origin) === Naming.anything || !Naming.isName(listening)) addresses.push(listening)
    if (Candidate.isGiven(origin)) given.push(listening)
  }
  return { addresses, given }
}
