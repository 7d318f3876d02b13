/**
 * A swarm that exchanges pieces: runs a session for each peer, unchokes some of them (`Choking.ts`), offers them pieces one at
 * a time while it super-seeds (`Offers.ts`), tells all of them what is stored, and replaces those that are of no use.
 * One ticker serves the timers of all sessions.
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
import type { ConnectionLimit } from "../connect/ConnectionLimit.ts"
import type { Accept } from "../connect/Incoming.ts"
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
import * as Offers from "./Offers.ts"
import * as PeerBook from "./PeerBook.ts"
import * as Roster from "./Roster.ts"
import * as Swarm from "./Swarm.ts"
import * as Usefulness from "./Usefulness.ts"

/** Connections of one torrent by default. More peers than this rarely make a download faster. */
export const defaultMaxConnections = 50

/** How long what was sent may take to arrive before a peer is let go that was given enough. */
export const partingTime = "3 seconds"

/** A swarm that talks to peers. */
export interface Serving {
  /** Dials, chokes and ticks until it is interrupted. Dies of a bug of ours. */
  readonly run: Effect.Effect<never, never, Dialer>
  /** Takes a peer that asks for the torrent; see `Swarm.accept`. */
  readonly accept: Accept
}

/** The peers of one torrent. */
export interface PieceSwarm {
  /** Talks to peers, once it is known what can be uploaded to them, until the scope closes, which ends every session. */
  readonly serve: (upload: Upload.Upload) => Effect.Effect<Serving, never, Scope.Scope>
  /** Adds addresses; returns how many were new. */
  readonly add: (addresses: ReadonlyArray<PeerAddress.PeerAddress>) => Effect.Effect<number>
  /** Notes how somebody sees us, a peer or a tracker by its name: peers are dialled in the order of BEP 40. */
  readonly seenAs: (voter: string, host: string) => void
  /** Does not talk to this address until its ban ends. */
  readonly ban: (key: SupplierId, why: string) => void
  /** Notes that the peers sent right bytes. */
  readonly prove: (keys: Iterable<SupplierId>) => void
  /** `undefined` for a peer that connected to us, is long gone and was forgotten. */
  readonly addressOf: (key: SupplierId) => PeerAddress.PeerAddress | undefined
  /** Tells every peer of a piece that is stored now, and lets those go that can give and take nothing more. */
  readonly announce: (piece: PieceIndex) => void
  /**
   * Takes back from every peer pieces that it was told of and that cannot be read any more (BEP 54). One that does not know
   * how is let go, and hears of what is left when it is connected again.
   */
  readonly retract: (pieces: ReadonlyArray<PieceIndex>) => void
  /** What is wanted has changed: tells peers whether they are of interest now, and looks for those that were let go. */
  readonly reconsider: () => void
  /** Uploads nothing more, and lets all peers go when what is under way to them has had its time to arrive. */
  readonly dismiss: (why: string) => Effect.Effect<void>
  /** Peers that are connected, of them those that may request blocks, known addresses and banned ones. */
  readonly counts: () => {
    readonly connected: number
    readonly unchoked: number
    readonly known: number
    readonly banned: number
  }
  /** Connected peers that have a piece which is wanted and missing here, and those of them that let us ask. */
  readonly prospects: () => { readonly interesting: number; readonly unchoking: number }
}

/** What a swarm is made of. */
export interface Options {
  readonly assembly: Assembly.Assembly
  readonly infoHash: InfoHash
  /** What peers are told beside the pieces (BEP 10). */
  readonly extensions: Pick<TorrentExtensions, "info" | "isPrivate" | "port">
  readonly peerId: PeerId
  readonly random: Prng.Prng
  readonly maxConnections?: number | undefined
  /** Whether it goes on looking for peers when everything that is wanted is stored, to upload it to them; default no. */
  readonly seeds?: (() => boolean) | undefined
  /** How fast; absent: without limits. */
  readonly limits?: TorrentLimits | undefined
  /** Tells each peer of one piece at a time, if everything is stored from the start (BEP 16). */
  readonly superSeeds?: boolean | undefined
  /** The allowed fast set of the peer at a host (BEP 6); absent: no peer has one. */
  readonly allowedFast?: ((host: string) => Effect.Effect<ReadonlyArray<PieceIndex>>) | undefined
  /** Peers that may request blocks at once; default `Choker.slotsFor` the upload limit. */
  readonly uploadSlots?: number | undefined
  /** The connections that all torrents of an engine may have. */
  readonly connections: ConnectionLimit
  readonly report: (fact: Swarm.Fact) => void
}

/** What the parts of one swarm share. */
interface Parts {
  readonly options: Options
  readonly swarm: Swarm.Swarm<PeerSession.PeerSession>
  readonly choking: Choking.Choking
  /** Present if the swarm super-seeds. */
  readonly offers: Offers.Offers | undefined
}

/** Makes a swarm without addresses, whose sessions end with the scope at the latest. */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<PieceSwarm, never, Scope.Scope> {
  const { assembly, extensions, limits, random } = options
  const swarm = yield* Swarm.make<PeerSession.PeerSession>({
    infoHash: options.infoHash,
    peerId: options.peerId,
    port: extensions.port,
    random,
    ids: assembly.ids,
    maxConnections: options.maxConnections ?? defaultMaxConnections,
    connections: options.connections,
    dialAddress: Contacts.dialAddress,
    report: options.report
  })
  const choking = Choking.make({
    slots: () => options.uploadSlots ?? Choker.slotsFor(limits && RateLimiter.lowest(limits.upload)),
    peers: () => Array.from(swarm.roster.members.values(), ({ protocol }) => protocol),
    isSeeding: () => isFinished(options),
    random
  })
  const isSuperSeeding = options.superSeeds === true && PieceTable.isComplete(assembly.table)
  const offers = isSuperSeeding ? Offers.make({ pieceCount: assembly.geometry.pieceCount, random }) : undefined
  const parts: Parts = { options, swarm, choking, offers }

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

const isFinished = ({ assembly }: Options): boolean => PieceTable.isFinished(assembly.table)

const wantsPeers = (options: Options): boolean => !isFinished(options) || options.seeds?.() === true

const areBothDone = (options: Options, { protocol }: PeerSession.PeerSession): boolean =>
  isFinished(options) && Bitfield.isFull(protocol.has)

const serve = (parts: Parts, upload: Upload.Upload): Serving => {
  const { choking, swarm } = parts
  const exchange = exchangeOf(parts, upload)
  return {
    run: Effect.andThen(
      Effect.all([Swarm.run(swarm, exchange), Choking.run(choking)], { concurrency: "unbounded" }),
      Effect.never
    ),
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
    isDone: (member) => areBothDone(options, member),
    tick: (now) => tick(parts, now)
  }
}

/** What peers are told and asked beside the pieces. */
const extensionsOf = ({ options, swarm }: Parts): TorrentExtensions => ({
  ...options.extensions,
  isUploadOnly: () => isFinished(options),
  contacts: (remote) => Contacts.others(swarm.roster.members.values(), remote),
  seenAs: ({ host }, ourHost) => Swarm.seenAs(swarm, host, ourHost),
  found: (addresses) => {
    Swarm.add(swarm, addresses)
  }
})

const converse = Effect.fnUntraced(function* (
  { choking, offers, options, swarm }: Parts,
  upload: Upload.Upload,
  extensions: TorrentExtensions,
  ...[key, introduced, join]: Parameters<Swarm.Exchange<PeerSession.PeerSession>["converse"]>
) {
  const { clock } = swarm
  yield* PeerSession.run({
    introduced,
    assembly: options.assembly,
    upload,
    limits: options.limits,
    offer: offers && Offers.offerOf(offers, key, () => Monotonic.nowUnsafe(clock)),
    allowedFast: yield* options.allowedFast?.(introduced.connection.remote.host) ?? Effect.succeed([]),
    extensions,
    id: key,
    onOpen: join,
    onInterest: () => Choking.chooseSoon(choking)
  })
})

const admit = ({ offers, swarm }: Parts, session: PeerSession.PeerSession): PeerDropped | undefined => {
  const refusal = Roster.keepOne(swarm.roster, session, swarm.peerId)
  if (refusal === undefined && offers !== undefined) Offers.join(offers, session.protocol, session.openedAt)
  return refusal
}

const left = (
  { choking, offers, swarm }: Parts,
  key: SupplierId,
  { protocol }: PeerSession.PeerSession,
  error: Swarm.EncounterError | undefined
): boolean => {
  if (offers !== undefined) Offers.leave(offers, key, Monotonic.nowUnsafe(swarm.clock))
  if (!protocol.uploads.isChoking) Choking.chooseSoon(choking)
  return (protocol.usefulBytes > 0 || protocol.uploadedBytes > 0) && error?._tag !== "WireError"
}

const tick = Effect.fnUntraced(function* ({ choking, offers, options, swarm }: Parts, now: number) {
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
  else Requests.wakeOvertakers(assembly)
  if (offers !== undefined) Offers.step(offers, (key) => members.get(key)?.protocol, now)
  Choking.choose(choking, now)
  makeRoom(swarm, options, now)
})

/** Does what is due for a session; `true` when blocks became free. */
const tickSession = ({ failUnsafe, protocol }: PeerSession.PeerSession, now: number): boolean => {
  try {
    return PeerProtocol.tick(protocol, now)
  } catch (error) {
    if (!(error instanceof PeerDropped)) throw error
    failUnsafe(error)
    return false
  }
}

/** Ends the session that is missed least, if a peer or another torrent waits for its place. */
const makeRoom = (
  { book, encounters, roster: { members } }: Swarm.Swarm<PeerSession.PeerSession>,
  options: Options,
  now: number
): void => {
  // While a limit holds requests back, no peer can be of use.
  const isAsking = options.limits === undefined || !RateLimiter.isWaitedFor(options.limits.download)
  if (Encounters.isFull(encounters) && isAsking) {
    const next = PeerBook.nextToDial(book, now)
    const replaced = Usefulness.replaceable(members.values(), { isFinished: isFinished(options), now, next })
    replaced?.failUnsafe(new PeerDropped({ why: "it was of no use for 2 minutes, and others wait" }))
  }
  if (Encounters.shouldGive(encounters)) {
    const worst = Usefulness.least(members.values(), isFinished(options))
    worst?.failUnsafe(new PeerDropped({ why: "another torrent needs its place" }))
  }
}

const letGoOfDone = ({ options, swarm }: Parts): void =>
  Roster.dismiss(swarm.roster, (session) => areBothDone(options, session), "neither side wants anything more")

const announce = (parts: Parts, piece: PieceIndex): void => {
  for (const { protocol } of parts.swarm.roster.members.values()) PeerProtocol.announce(protocol, piece)
  letGoOfDone(parts)
}

const retract = ({ swarm }: Parts, pieces: ReadonlyArray<PieceIndex>): void =>
  Roster.dismiss(
    swarm.roster,
    ({ protocol }) => pieces.map((piece) => PeerProtocol.retract(protocol, piece)).includes(false),
    "it cannot be told of pieces that are gone"
  )

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
  letGoOfDone(parts)
  Dialling.wake(swarm.dialling)
}

const dismiss = Effect.fnUntraced(function* ({ choking, options, swarm }: Parts, why: string) {
  choking.isParting = true
  Choking.choose(choking, yield* Monotonic.now)
  yield* Effect.sleep(partingTime)
  if (!wantsPeers(options)) Roster.dismiss(swarm.roster, () => true, why)
})

const counts = ({ swarm: { book, roster } }: Parts): ReturnType<PieceSwarm["counts"]> => {
  let unchoked = 0
  for (const { protocol } of roster.members.values()) if (!protocol.uploads.isChoking) unchoked++
  return { connected: roster.members.size, unchoked, known: book.peers.size, banned: PeerBook.bannedCount(book) }
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
