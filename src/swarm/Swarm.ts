/**
 * The peers of one torrent: which are known (`PeerBook.ts`), connected (`Roster.ts`), dialled (`Dialling.ts`), accepted
 * and banned. After its introduction a peer joins an exchange: of pieces (`PieceSwarm.ts`) or of metadata
 * (`torrent/MetadataFetch.ts`).
 *
 * Plain data of one owner. `run` dials; sessions, loops and the owner use the rest synchronously.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Descriptors from "../base/Descriptors.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type * as PeerAddress from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type * as Prng from "../base/Prng.ts"
import * as Callers from "../connect/Callers.ts"
import * as Dial from "../connect/Dial.ts"
import * as DialPriority from "../connect/DialPriority.ts"
import * as Introduction from "../connect/Introduction.ts"
import * as Places from "../connect/Places.ts"
import { Dialer } from "../network/Transport.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import type { SessionError } from "../peer/PeerSession.ts"
import type { SupplierId, SupplierIds } from "../supply/SupplierId.ts"
import type * as Handshake from "../wire/Handshake.ts"
import * as Bans from "./Bans.ts"
import * as Dialling from "./Dialling.ts"
import * as Encounters from "./Encounters.ts"
import * as ExternalAddress from "./ExternalAddress.ts"
import * as HangUps from "./HangUps.ts"
import * as PeerBook from "./PeerBook.ts"
import * as Roster from "./Roster.ts"

/** What ends a dial or a session. */
export type EncounterError = Introduction.IntroductionError | SessionError | Encounters.NoPlace

/** What a swarm reports. */
export type Fact =
  | { readonly _tag: "PeerConnected"; readonly address: PeerAddress.PeerAddress }
  | { readonly _tag: "PeerDisconnected"; readonly address: PeerAddress.PeerAddress; readonly why: string }
  /** A dial failed: the connection did not open, or the handshake failed. */
  | { readonly _tag: "PeerUnreachable"; readonly address: PeerAddress.PeerAddress; readonly why: string }
  | { readonly _tag: "PeerBanned"; readonly address: PeerAddress.PeerAddress; readonly why: string }
  /** `peers` ended a connection before the handshake, or called us repeatedly without one. */
  | { readonly _tag: "PeersHungUp"; readonly peers: number }

/** The peers of one torrent. */
export interface Swarm<M extends Roster.Member> {
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  readonly book: PeerBook.PeerBook
  readonly roster: Roster.Roster<M>
  readonly encounters: Encounters.Encounters
  readonly dialling: Dialling.Dialling
  readonly hangUps: HangUps.HangUps
  /** The peers that called the engine without a handshake. */
  readonly callers: Callers.Callers
  readonly external: ExternalAddress.ExternalAddress
  /**
   * Whether our external address has changed since the book was ranked. Any peer can cause that, so only a tick ranks
   * it.
   */
  isRankStale: boolean
  readonly clock: Clock.Clock
  readonly report: (fact: Fact) => void
}

/** What a swarm is made from. */
export interface Options<M extends Roster.Member> extends Pick<Encounters.Options, "fibers" | "clock"> {
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  /** The port at which peers can connect to us; `undefined` if there is none. */
  readonly port: () => number | undefined
  readonly random: Prng.Prng
  /** Makes the keys of peers. */
  readonly ids: SupplierIds
  /** The most sessions at once. */
  readonly maxConnections: number
  /** The most connections that are opened at once; default `Dialling.maxDialing`. */
  readonly maxDialing?: number | undefined
  /** The peers that called the engine without a handshake; default none. */
  readonly callers?: Callers.Callers | undefined
  /** Those that were counted and reported before; default none. */
  readonly hangUps?: HangUps.HangUps | undefined
  /** The places that all torrents of an engine share. */
  readonly places: Places.Places
  readonly dialAddress: Roster.Roster<M>["dialAddress"]
  readonly report: (fact: Fact) => void
}

/** What a swarm does with the peers that it meets. */
export interface Exchange<M extends Roster.Member> {
  /** The extensions that we support beyond BEP 3. */
  readonly features: Handshake.Features
  /** Whether peers are of any use now. If not, none is dialled or accepted. */
  readonly wantsPeers: () => boolean
  /**
   * Runs a session with a peer. It calls `join` once, as soon as the peer counts as connected. If `join` returns an
   * error, the session ends with it.
   */
  readonly converse: (
    key: SupplierId,
    introduced: Introduction.Introduced,
    join: (member: M) => PeerDropped | undefined
  ) => Effect.Effect<void, SessionError>
  /** Called when a member is about to join. If it returns an error, the session ends with it. */
  readonly admit: (member: M) => PeerDropped | undefined
  /**
   * Called when the session of a member has ended. Returns whether it was useful; if so, the peer is soon dialled
   * again.
   */
  readonly left: (key: SupplierId, member: M, error: EncounterError | undefined) => boolean
  /** How useful a member is. When places are short, the least useful one has to leave. */
  readonly useOf: (member: M, now: number) => Places.Use
  /** Whether neither side wants anything more from the other, so that the peer is not dialled again. */
  readonly isDone: (member: M) => boolean
}

/** Makes a swarm without addresses. Its sessions end with `Encounters.endAll`. */
export const make = <M extends Roster.Member>(options: Options<M>): Swarm<M> => {
  const external = ExternalAddress.make()
  const us = () => ({ ...external, port: options.port() ?? 0 })
  const book = PeerBook.make(options.random, (address) => DialPriority.of(us(), address), options.ids)
  const dialling = Dialling.make(book, options.maxDialing ?? Dialling.maxDialing)
  const { clock, fibers, maxConnections, places } = options
  return {
    infoHash: options.infoHash,
    peerId: options.peerId,
    book,
    roster: Roster.make(options.dialAddress),
    hangUps: options.hangUps ?? HangUps.make(),
    callers: options.callers ?? Callers.make(),
    encounters: Encounters.make({ fibers, clock, max: maxConnections, places, wake: () => Dialling.wake(dialling) }),
    dialling,
    external,
    isRankStale: false,
    clock,
    report: options.report
  }
}

/** Dials until the scope closes. */
export const run = Effect.fnUntraced(function* <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>
): Effect.fn.Return<void, never, Dialer | Scope.Scope> {
  const { dialling, encounters } = self
  const { places, share } = encounters
  const dialer = yield* Dialer
  yield* Dialling.run(dialling, {
    wantsPeers: exchange.wantsPeers,
    dialing: () => Places.dials(share),
    takeDial: () => Places.takeDial(places, share),
    leaveLine: () => Places.leaveLine(places, share),
    dial: (peer) => dial(self, exchange, dialer, peer)
  })
})

/** Does what is due for the addresses. To be called every second. */
export const tick = <M extends Roster.Member>(self: Swarm<M>, now: number): void => {
  if (Bans.pardon(self.book, now)) Dialling.wake(self.dialling)
  if (self.isRankStale) PeerBook.rank(self.book)
  self.isRankStale = false
  reportHangUps(self, now)
  Places.step(self.encounters.places, now)
  Dialling.tick(self.dialling, now)
}

const reportHangUps = <M extends Roster.Member>({ book, callers, hangUps, report }: Swarm<M>, now: number): void => {
  const peers = HangUps.count(hangUps, book) + Callers.count(callers, now)
  if (HangUps.isDue(hangUps, peers)) report({ _tag: "PeersHungUp", peers })
}

const ourselves = <M extends Roster.Member>(
  { infoHash, peerId }: Swarm<M>,
  { features }: Exchange<M>
): Introduction.Ourselves => ({ infoHash, peerId, features })

const dial = <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>,
  dialer: Dialer["Service"],
  peer: PeerBook.Peer
): Effect.Effect<void> =>
  Encounters.dial<Introduction.Introduced, SessionError, Introduction.IntroductionError, never>(self.encounters, {
    key: peer.key,
    host: peer.address.host,
    introduce: Effect.flatMap(Dial.connect(dialer, peer.address), (connection) =>
      Introduction.dialled(connection, ourselves(self, exchange)).pipe(
        Effect.tapError((error) => Effect.sync(() => isHangUp(error) && HangUps.add(self.hangUps, peer.key)))
      )
    ),
    converse: (introduced, place) => converse(self, exchange, peer, introduced, place),
    ended: (exit, place) => ended(self, exchange, peer, exit, place)
  })

/** Whether the peer closed or broke the connection before it sent its handshake. */
const isHangUp = (error: Introduction.IntroductionError): boolean =>
  error._tag === "ConnectionError" || (error._tag === "NotIntroduced" && error.reason === "closed")

/**
 * Answers a peer that asks for the torrent, and closes `scope`, that of its connection, when its session has ended.
 * Closes it at once if there is no room, if the address is banned, or if no peers are wanted.
 */
export const accept = <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>,
  caller: Introduction.Caller,
  scope: Scope.Closeable
): Effect.Effect<void> =>
  Encounters.accept(self.encounters, scope, () => {
    if (!exchange.wantsPeers()) return undefined
    const peer = PeerBook.arrive(self.book, caller.connection.remote, Monotonic.nowUnsafe(self.clock))
    if (peer === undefined) return undefined
    return {
      key: peer.key,
      host: peer.address.host,
      run: (place) =>
        Effect.flatMap(Introduction.answer(caller, ourselves(self, exchange)), (introduced) =>
          converse(self, exchange, peer, introduced, place)
        ),
      ended: (exit, place) => ended(self, exchange, peer, exit, place),
      refused: () => PeerBook.turnedAway(self.book, peer)
    }
  })

const converse = <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>,
  peer: PeerBook.Peer,
  introduced: Introduction.Introduced,
  place: Places.Place
): Effect.Effect<void, SessionError> =>
  exchange.converse(peer.key, introduced, (member) => {
    const refusal = join(self, exchange, peer, member)
    if (refusal !== undefined) return refusal
    place.occupant = {
      useOf: (now) => exchange.useOf(member, now),
      leave: (why) => member.failUnsafe(new PeerDropped({ why: reasons[why] }))
    }
    return undefined
  })

/** Why a peer has to leave its place, as the end of a sentence. */
const reasons: Readonly<Record<Places.Why, string>> = {
  useless: "it was of no use for 2 minutes, and others wait",
  host: "its host has more connections than others that wait",
  torrent: "another torrent needs its place",
  descriptors: "this process has too many open files"
}

const join = <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>,
  peer: PeerBook.Peer,
  member: M
): PeerDropped | undefined => {
  if (peer.state === "banned") return new PeerDropped({ why: "it is banned" })
  if (!exchange.wantsPeers()) return new PeerDropped({ why: "nothing more is downloaded or uploaded" })
  const refusal = exchange.admit(member)
  if (refusal !== undefined) return refusal
  self.roster.members.set(peer.key, member)
  HangUps.remove(self.hangUps, peer.key)
  PeerBook.connected(peer)
  // The dial is over, so another one may begin.
  Dialling.wake(self.dialling)
  self.report({ _tag: "PeerConnected", address: peer.address })
  return undefined
}

const ended = <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>,
  peer: PeerBook.Peer,
  exit: Exit.Exit<void, EncounterError>,
  place: Places.Place | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { book, report, roster } = self
    const now = Monotonic.nowUnsafe(self.clock)
    const member = roster.members.get(peer.key)
    roster.members.delete(peer.key)
    const error = Option.getOrUndefined(Exit.findErrorOption(exit))
    const isUseful = member !== undefined && exchange.left(peer.key, member, error)
    const end = endOf(isUseful, error, place)
    if (error?._tag === "SelfConnection") Bans.exclude(book, peer, now)
    else PeerBook.disconnected(book, peer, now, end)
    if (member !== undefined) {
      if (peer.state !== "banned") rememberWhereItListens(self, exchange, member, end)
      if (exchange.isDone(member)) PeerBook.leave(book, peer)
    }
    const why = error?.why ?? reasonOf(exit)
    if (member !== undefined) report({ _tag: "PeerDisconnected", address: peer.address, why })
    else if (peer.isDialable && !Exit.hasInterrupts(exit) && isUnreachable(end, error)) {
      report({ _tag: "PeerUnreachable", address: peer.address, why })
    }
    Dialling.wake(self.dialling)
    if (end === "not tried") {
      Places.noteShortage(self.encounters.places, now)
      return Effect.asVoid(Descriptors.freeSpare)
    }
    return Exit.isFailure(exit) && Cause.hasDies(exit.cause)
      ? Effect.logError("a session with a peer ended with a defect", exit.cause)
      : Effect.void
  })

/**
 * Whether a dial failed because of the peer. One that we cancelled says nothing about the peer, nor does an incoming
 * connection about whether the peer can be reached. That we found ourselves is of no use to anybody.
 */
const isUnreachable = (end: PeerBook.EncounterEnd, error: EncounterError | undefined): boolean =>
  (end === "useful" || end === "failed") && error?._tag !== "SelfConnection"

/** What the end of an encounter says about the peer. */
const endOf = (
  isUseful: boolean,
  error: EncounterError | undefined,
  place: Places.Place | undefined
): PeerBook.EncounterEnd => {
  if (error?._tag === "NoPlace") return "without a place"
  if (place === undefined && Descriptors.isExhausted(error)) return "not tried"
  if (place?.state === "displaced") return place.why === "useless" ? "useless" : "without a place"
  return isUseful ? "useful" : "failed"
}

/** Notes where a peer that connected to us can be dialled, if it has sent the port at which it listens. */
const rememberWhereItListens = <M extends Roster.Member>(
  { book, clock, roster }: Swarm<M>,
  exchange: Exchange<M>,
  member: M,
  end: PeerBook.EncounterEnd
): void => {
  const now = Monotonic.nowUnsafe(clock)
  const address = member.isIncoming ? roster.dialAddress(member) : undefined
  const peer = address && PeerBook.add(book, address, now)
  if (peer === undefined) return
  PeerBook.disconnected(book, peer, now, end)
  if (exchange.isDone(member)) PeerBook.leave(book, peer)
}

/** Why a session ended that has no error. */
const reasonOf = (exit: Exit.Exit<void, EncounterError>): string => {
  if (Exit.isSuccess(exit)) return "it closed the connection"
  return Cause.hasDies(exit.cause) ? "an internal error ended the session" : "we ended the session"
}

/** Adds addresses; returns how many were new. */
export const add = <M extends Roster.Member>(
  { book, clock, dialling, roster }: Swarm<M>,
  addresses: ReadonlyArray<PeerAddress.PeerAddress>
): number => {
  const now = Monotonic.nowUnsafe(clock)
  let added = 0
  for (const address of addresses) {
    // A peer that connected to us is in the book under another address.
    if (!Roster.isConnected(roster, address) && PeerBook.add(book, address, now) !== undefined) added++
  }
  if (added > 0) Dialling.wake(dialling)
  return added
}

/** Notes how a peer or a tracker (`voter`) sees us. Peers are dialled in the order of BEP 40, which depends on it. */
export const seenAs = <M extends Roster.Member>(self: Swarm<M>, voter: string, host: string): void => {
  if (ExternalAddress.vote(self.external, voter, host)) self.isRankStale = true
}

/** Bans a peer, and ends sessions and dials that this affects. */
export const ban = <M extends Roster.Member>(self: Swarm<M>, key: number, why: string): void => {
  const { book, encounters, roster } = self
  const peer = book.peers.get(key)
  const banned = peer === undefined ? [] : Bans.ban(book, peer, Monotonic.nowUnsafe(self.clock))
  if (peer === undefined || banned.length === 0) return
  self.report({ _tag: "PeerBanned", address: peer.address, why })
  for (const { key } of banned) {
    const member = roster.members.get(key)
    if (member === undefined) Encounters.interruptUnsafe(encounters, key)
    else member.failUnsafe(new PeerDropped({ why: "it is banned" }))
  }
}
