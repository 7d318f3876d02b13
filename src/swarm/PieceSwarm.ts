/**
 * A swarm that exchanges pieces. Runs a session for each peer, unchokes some of them (`Choking.ts`), offers them a
 * few pieces at a time while it super-seeds (`Offers.ts`), announces stored pieces to all of them, and says how useful
 * each is. One tick serves the timers of all sessions.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Assembly from "../assembly/Assembly.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Requests from "../assembly/Requests.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type * as PeerAddress from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"
import type { Tick } from "../base/Ticker.ts"
import type { Callers } from "../connect/Callers.ts"
import type { Accept } from "../connect/Incoming.ts"
import type { Places, Use } from "../connect/Places.ts"
import type { Dialer } from "../network/Transport.ts"
import type { TorrentExtensions } from "../peer/PeerExtensions.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import * as PeerPieces from "../peer/PeerPieces.ts"
import * as PeerProtocol from "../peer/PeerProtocol.ts"
import * as PeerSession from "../peer/PeerSession.ts"
import type * as Upload from "../peer/Upload.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import type { TorrentLimits } from "../rate/RateLimits.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as Choker from "./Choker.ts"
import * as Choking from "./Choking.ts"
import * as Contacts from "./Contacts.ts"
import * as Dialling from "./Dialling.ts"
import * as Encounters from "./Encounters.ts"
import * as HangUps from "./HangUps.ts"
import * as Offers from "./Offers.ts"
import * as PeerBook from "./PeerBook.ts"
import * as Roster from "./Roster.ts"
import * as Swarm from "./Swarm.ts"
import * as Usefulness from "./Usefulness.ts"

/** The most connections of one torrent by default. More rarely make a download faster. */
export const defaultMaxConnections = 50

/** How long sent blocks may take to arrive before peers are disconnected at the end of seeding. */
export const partingTime = "3 seconds"

/** A swarm that runs. */
export interface Serving {
  /** Dials and chokes until the scope closes. */
  readonly run: Effect.Effect<void, never, Dialer | Scope.Scope>
  /** Does what is due. To be called every second. */
  readonly tick: Tick
  /** Takes a peer that asks for the torrent. See `Swarm.accept`. */
  readonly accept: Accept
}

/** The peers of one torrent. */
export interface PieceSwarm {
  /** Makes it run, once it is known what can be uploaded. Every session ends when the scope closes. */
  readonly serve: (upload: Upload.Upload) => Effect.Effect<Serving, never, Scope.Scope>
  /** Adds addresses; returns how many were new. */
  readonly add: (addresses: ReadonlyArray<PeerAddress.PeerAddress>) => Effect.Effect<number>
  /** Notes how a peer or a tracker (`voter`) sees us. Peers are dialled in the order of BEP 40, which depends on it. */
  readonly seenAs: (voter: string, host: string) => void
  /** Bans an address, and every session with it, until the ban ends. */
  readonly ban: (key: SupplierId, why: string) => void
  /** Notes that the peers sent right bytes. */
  readonly prove: (keys: Iterable<SupplierId>) => void
  /** `undefined` for a peer that connected to us, left long ago and was forgotten. */
  readonly addressOf: (key: SupplierId) => PeerAddress.PeerAddress | undefined
  /** Announces a stored piece to every peer, and disconnects peers if neither side wants anything more. */
  readonly announce: (piece: PieceIndex) => void
  /**
   * Withdraws announced pieces that cannot be read any more from every peer (BEP 54). A peer that does not support this
   * is disconnected, and receives the pieces that are left when it connects again.
   */
  readonly retract: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Handles a change of the wanted pieces: updates our interest in every peer, and dials peers that had been left. */
  readonly reconsider: () => void
  /** Ends all uploads, and disconnects all peers after blocks on the way had time to arrive. */
  readonly dismiss: (why: string) => Effect.Effect<void>
  /**
   * How many peers are connected, how many of these may request blocks, and how many addresses are known, banned, and
   * of peers that closed our latest connection to them before the handshake.
   */
  readonly counts: () => {
    readonly connected: number
    readonly unchoked: number
    readonly known: number
    readonly banned: number
    readonly hungUp: number
  }
  /** How many connected peers have a piece that is wanted and missing here, and how many of these have unchoked us. */
  readonly prospects: () => { readonly interesting: number; readonly unchoking: number }
}

/** What a swarm is made from. */
export interface Options {
  readonly assembly: Assembly.Assembly
  readonly infoHash: InfoHash
  /** What peers receive besides pieces (BEP 10). */
  readonly extensions: Pick<TorrentExtensions, "info" | "isPrivate" | "port">
  readonly peerId: PeerId
  readonly random: Prng.Prng
  readonly maxConnections?: number | undefined
  /** Whether it goes on finding peers and uploading when everything that is wanted is stored; default false. */
  readonly seeds?: (() => boolean) | undefined
  /** Limits of rate; default none. */
  readonly limits?: TorrentLimits | undefined
  /** Whether it super-seeds (BEP 16), if everything is stored from the start; default false. */
  readonly superSeeds?: boolean | undefined
  /** Returns the allowed fast set of the peer at a host (BEP 6). Default: no peer has one. */
  readonly allowedFast?: ((host: string) => Effect.Effect<ReadonlyArray<PieceIndex>>) | undefined
  /** How many peers may request blocks at once; default `Choker.slotsFor` of the upload limit. */
  readonly uploadSlots?: number | undefined
  /** The peers that called the engine without a handshake; default none. */
  readonly callers?: Callers | undefined
  /** The places that all torrents of an engine share. */
  readonly places: Places
  readonly report: (fact: Swarm.Fact) => void
}

/** What the functions of one swarm share. */
interface Parts {
  readonly options: Options
  readonly swarm: Swarm.Swarm<PeerSession.PeerSession>
  readonly choking: Choking.Choking
  /** Present if the swarm super-seeds. */
  readonly offers: Offers.Offers | undefined
  /** Increases when a peer that can be dialled joins, leaves, or says another port. */
  contactsVersion: number
}

/** Makes a swarm without addresses. Its sessions end with the scope at the latest. */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<PieceSwarm, never, Scope.Scope> {
  const { assembly, extensions, limits, random } = options
  const swarm = yield* Swarm.make<PeerSession.PeerSession>({
    infoHash: options.infoHash,
    peerId: options.peerId,
    port: extensions.port,
    random,
    ids: assembly.ids,
    maxConnections: options.maxConnections ?? defaultMaxConnections,
    callers: options.callers,
    places: options.places,
    dialAddress: Contacts.dialAddress,
    report: options.report
  })
  const isSuperSeeding = options.superSeeds === true && PieceTable.isComplete(assembly.table)
  const offers = isSuperSeeding ? Offers.make({ geometry: assembly.geometry, random }) : undefined
  const choking = Choking.make({
    slots: (bytesPerSecond) =>
      options.uploadSlots ??
      Choker.slotsFor(limits && RateLimiter.lowest(limits.upload), isFinished(options) ? bytesPerSecond : 0),
    peers: () => Array.from(swarm.roster.members.values(), ({ protocol }) => protocol),
    isSeeding: () => isFinished(options),
    prefersNearlyDone: () => isFinished(options) && !isOffering(offers),
    random
  })
  const parts: Parts = { options, swarm, choking, offers, contactsVersion: 0 }

  return {
    serve: (upload) =>
      Effect.acquireRelease(
        Effect.sync(() => serve(parts, upload)),
        () => Encounters.endAll(swarm.encounters)
      ),
    add: (addresses) => Effect.sync(() => Swarm.add(swarm, addresses)),
    seenAs: (voter, host) => Swarm.seenAs(swarm, voter, host),
    ban: (key, why) => Swarm.ban(swarm, key, why),
    prove: (keys) => PeerBook.prove(swarm.book, keys),
    addressOf: (key) => swarm.book.peers.get(key)?.address,
    announce: (piece) => announce(parts, piece),
    retract: (pieces) => retract(parts, pieces),
    reconsider: () => reconsider(parts),
    dismiss: (why) => dismiss(parts, why),
    counts: () => counts(parts),
    prospects: () => prospects(parts)
  }
})

const isOffering = (offers: Offers.Offers | undefined): boolean => offers?.machine !== undefined

const isFinished = ({ assembly }: Options): boolean => PieceTable.isFinished(assembly.table)

const wantsPeers = (options: Options): boolean => !isFinished(options) || options.seeds?.() === true

const areBothDone = (options: Options, { protocol }: PeerSession.PeerSession): boolean =>
  isFinished(options) && Bitfield.isFull(protocol.has)

const serve = (parts: Parts, upload: Upload.Upload): Serving => {
  const { choking, swarm } = parts
  const exchange = exchangeOf(parts, upload)
  return {
    run: Effect.andThen(Swarm.run(swarm, exchange), Choking.run(choking)),
    tick: (now) => tick(parts, now),
    accept: (caller, scope) => Swarm.accept(swarm, exchange, caller, scope)
  }
}

const exchangeOf = (parts: Parts, upload: Upload.Upload): Swarm.Exchange<PeerSession.PeerSession> => {
  const { options } = parts
  const extensions = extensionsOf(parts)
  return {
    features: PeerSession.features,
    wantsPeers: () => wantsPeers(options),
    converse: (key, introduced, join) => converse(parts, upload, extensions, key, introduced, join),
    admit: (member) => admit(parts, member),
    left: (key, member, error) => left(parts, key, member, error),
    useOf: (member, now) => useOf(options, member, now),
    isDone: (member) => areBothDone(options, member)
  }
}

/** What is exchanged with peers besides pieces. */
const extensionsOf = (parts: Parts): TorrentExtensions => {
  const { offers, options, swarm } = parts
  return {
    ...options.extensions,
    isUploadOnly: () => isFinished(options) && !isOffering(offers),
    contacts: (remote) => Contacts.others(swarm.roster.members.values(), remote),
    contactsVersion: () => parts.contactsVersion,
    portChanged: () => void parts.contactsVersion++,
    seenAs: ({ host }, ourHost) => Swarm.seenAs(swarm, host, ourHost),
    found: (addresses) => {
      Swarm.add(swarm, addresses)
    }
  }
}

const converse = Effect.fnUntraced(function* (
  { choking, offers, options, swarm }: Parts,
  upload: Upload.Upload,
  extensions: TorrentExtensions,
  ...[key, introduced, join]: Parameters<Swarm.Exchange<PeerSession.PeerSession>["converse"]>
) {
  const { clock } = swarm
  const allowedFast = yield* options.allowedFast?.(introduced.connection.remote.host) ?? Effect.succeed([])
  yield* PeerSession.run({
    introduced,
    assembly: options.assembly,
    upload,
    limits: options.limits,
    offer:
      offers &&
      Offers.offerOf(
        offers,
        key,
        (other) => protocolOf(swarm, other),
        () => Monotonic.nowUnsafe(clock)
      ),
    allowedFast,
    extensions,
    id: key,
    onOpen: join,
    onInterest: () => Choking.chooseSoon(choking)
  })
})

const protocolOf = (
  { roster }: Swarm.Swarm<PeerSession.PeerSession>,
  key: number
): PeerProtocol.PeerProtocol | undefined => roster.members.get(key as SupplierId)?.protocol

const admit = (parts: Parts, session: PeerSession.PeerSession): PeerDropped | undefined => {
  const { offers, swarm } = parts
  const refusal = Roster.keepOne(swarm.roster, session, swarm.peerId)
  if (refusal === undefined && Contacts.dialAddress(session) !== undefined) parts.contactsVersion++
  if (refusal === undefined && offers !== undefined) Offers.join(offers, session.protocol, session.openedAt)
  return refusal
}

const left = (
  parts: Parts,
  key: SupplierId,
  session: PeerSession.PeerSession,
  error: Swarm.EncounterError | undefined
): boolean => {
  const { choking, offers, swarm } = parts
  const { protocol } = session
  if (Contacts.dialAddress(session) !== undefined) parts.contactsVersion++
  if (offers !== undefined) Offers.leave(offers, key, Monotonic.nowUnsafe(swarm.clock))
  if (!protocol.uploads.isChoking) Choking.chooseSoon(choking)
  return (protocol.usefulBytes > 0 || protocol.uploadedBytes > 0) && error?._tag !== "WireError"
}

const tick = (parts: Parts, now: number): Effect.Effect<void> | undefined => {
  const { offers, options, swarm } = parts
  Swarm.tick(swarm, now)
  const isAlone = swarm.roster.members.size === 0 && options.assembly.suppliers.size === 0
  return isAlone && offers?.machine === undefined ? undefined : tickSuppliers(parts, now)
}

const tickSuppliers = Effect.fnUntraced(function* ({ choking, offers, options, swarm }: Parts, now: number) {
  const { assembly } = options
  const { members } = swarm.roster
  Assembly.tick(assembly, now)
  let isFreed = false
  for (const session of [...members.values()]) {
    if (!tickSession(session, now)) continue
    isFreed = true
    yield* Assembly.abandon(assembly, session.protocol)
  }
  if (isFreed) Assembly.wakeIdle(assembly)
  else Requests.wakeOvertakers(assembly, now)
  if (offers !== undefined) Offers.step(offers, (key) => protocolOf(swarm, key), now)
  Choking.choose(choking, now)
})

/** Does what is due for a session. Returns `true` if blocks became free. */
const tickSession = ({ failUnsafe, protocol }: PeerSession.PeerSession, now: number): boolean => {
  try {
    return PeerProtocol.tick(protocol, now)
  } catch (error) {
    if (!(error instanceof PeerDropped)) throw error
    failUnsafe(error)
    return false
  }
}

const useOf = (options: Options, { protocol }: PeerSession.PeerSession, now: number): Use => {
  const isAsking = options.limits === undefined || !RateLimiter.isWaitedFor(options.limits.download)
  return Usefulness.of(protocol, { isFinished: isFinished(options), isAsking }, now)
}

const dismissDone = ({ options, swarm }: Parts): void =>
  Roster.dismiss(swarm.roster, (session) => areBothDone(options, session), "neither side wants anything more")

const announce = (parts: Parts, piece: PieceIndex): void => {
  const { offers, swarm } = parts
  if (offers !== undefined) Offers.restore(offers, piece, Monotonic.nowUnsafe(swarm.clock))
  for (const { protocol } of swarm.roster.members.values()) PeerProtocol.announce(protocol, piece)
  dismissDone(parts)
}

const retract = ({ offers, swarm }: Parts, pieces: ReadonlyArray<PieceIndex>): void => {
  if (offers !== undefined) Offers.retract(offers, pieces)
  Roster.dismiss(
    swarm.roster,
    ({ protocol }) => pieces.map((piece) => PeerProtocol.retract(protocol, piece)).includes(false),
    "pieces are gone, and it does not support withdrawing them"
  )
}

const reconsider = (parts: Parts): void => {
  const { choking, options, swarm } = parts
  if (!isFinished(options)) {
    choking.isParting = false
    PeerBook.recall(swarm.book)
  }
  for (const { protocol } of swarm.roster.members.values()) {
    PeerPieces.updateInterest(protocol)
    protocol.wake()
  }
  dismissDone(parts)
  Dialling.wake(swarm.dialling)
}

const dismiss = Effect.fnUntraced(function* ({ choking, options, swarm }: Parts, why: string) {
  choking.isParting = true
  Choking.choose(choking, yield* Monotonic.now)
  yield* Effect.sleep(partingTime)
  if (!wantsPeers(options)) Roster.dismiss(swarm.roster, () => true, why)
})

const counts = ({ swarm: { book, hangUps, roster } }: Parts): ReturnType<PieceSwarm["counts"]> => {
  let unchoked = 0
  for (const { protocol } of roster.members.values()) if (!protocol.uploads.isChoking) unchoked++
  return {
    connected: roster.members.size,
    unchoked,
    known: book.peers.size,
    banned: PeerBook.bannedCount(book),
    hungUp: HangUps.count(hangUps, book)
  }
}

const prospects = ({ swarm }: Parts): ReturnType<PieceSwarm["prospects"]> => {
  let interesting = 0
  let unchoking = 0
  for (const { protocol } of swarm.roster.members.values()) {
    if (!protocol.amInterested) continue
    interesting++
    if (!protocol.peerChoking) unchoking++
  }
  return { interesting, unchoking }
}
