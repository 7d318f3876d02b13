/**
 * The peers of one torrent: which are known (`PeerBook.ts`), connected (`Roster.ts`), dialled (`Dialling.ts`), accepted
 * and banned. After its introduction a peer joins an exchange: of pieces (`PieceSwarm.ts`) or of metadata
 * (`torrent/MetadataFetch.ts`).
 *
 * Plain data of one owner. `run` dials and ticks; sessions, loops and the owner use the rest synchronously.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type * as PeerAddress from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type * as Prng from "../base/Prng.ts"
import type { ConnectionLimit } from "../connect/ConnectionLimit.ts"
import * as Dial from "../connect/Dial.ts"
import * as DialPriority from "../connect/DialPriority.ts"
import * as Incoming from "../connect/Incoming.ts"
import * as Introduction from "../connect/Introduction.ts"
import { Dialer } from "../network/Transport.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import type { SessionError } from "../peer/PeerSession.ts"
import type { SupplierId, SupplierIds } from "../supply/SupplierId.ts"
import type * as Handshake from "../wire/Handshake.ts"
import * as Dialling from "./Dialling.ts"
import * as Encounters from "./Encounters.ts"
import * as ExternalAddress from "./ExternalAddress.ts"
import * as HangUps from "./HangUps.ts"
import * as PeerBook from "./PeerBook.ts"
import * as Roster from "./Roster.ts"

/** What ends a dial or a session. */
export type EncounterError = Introduction.IntroductionError | SessionError

/** What a swarm reports. */
export type Fact =
  | { readonly _tag: "PeerConnected"; readonly address: PeerAddress.PeerAddress }
  | { readonly _tag: "PeerDisconnected"; readonly address: PeerAddress.PeerAddress; readonly why: string }
  /** A dial failed: the connection did not open, or the handshake failed. */
  | { readonly _tag: "PeerUnreachable"; readonly address: PeerAddress.PeerAddress; readonly why: string }
  | { readonly _tag: "PeerBanned"; readonly address: PeerAddress.PeerAddress; readonly why: string }
  /** `peers` ended a connection before the handshake, or called us without one. */
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
  readonly callers: Incoming.Callers
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
export interface Options<M extends Roster.Member> {
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  /** The port at which peers can connect to us; `undefined` if there is none. */
  readonly port: () => number | undefined
  readonly random: Prng.Prng
  /** Makes the keys of peers. */
  readonly ids: SupplierIds
  /** The most dials and sessions at once. */
  readonly maxConnections: number
  /** The most connections that are opened at once; default `Dialling.maxDialing`. */
  readonly maxDialing?: number | undefined
  /** The connections that all torrents of an engine share. */
  readonly connections: ConnectionLimit
  /** The peers that called the engine without a handshake; default none. */
  readonly callers?: Incoming.Callers | undefined
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
  /** Whether neither side wants anything more from the other, so that the peer is not dialled again. */
  readonly isDone: (member: M) => boolean
  /** Called every second. */
  readonly tick: (now: number) => Effect.Effect<void>
}

/** Makes a swarm without addresses, whose sessions end with the scope. */
export const make = Effect.fnUntraced(function* <M extends Roster.Member>(options: Options<M>) {
  const external = ExternalAddress.make()
  const us = () => ({ ...external, port: options.port() ?? 0 })
  const book = PeerBook.make(options.random, (address) => DialPriority.of(us(), address), options.ids)
  const { connections, maxConnections } = options
  const self: Swarm<M> = {
    infoHash: options.infoHash,
    peerId: options.peerId,
    book,
    roster: Roster.make(options.dialAddress),
    encounters: yield* Encounters.make({ max: maxConnections, connections }),
    dialling: Dialling.make(book, options.maxDialing ?? Dialling.maxDialing),
    hangUps: HangUps.make(),
    callers: options.callers ?? Incoming.makeCallers(),
    external,
    isRankStale: false,
    clock: yield* Clock.Clock,
    report: options.report
  }
  return self
})

/** Dials and ticks until it is interrupted. A bug of ours is a defect. */
export const run = Effect.fnUntraced(function* <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>
): Effect.fn.Return<never, never, Dialer> {
  const { dialling, encounters, roster } = self
  const dialer = yield* Dialer
  const dialing = Dialling.run(dialling, {
    mayDial: () => exchange.wantsPeers() && !Encounters.isFull(encounters),
    dialing: () => encounters.running - roster.members.size,
    dial: (peer) =>
      Encounters.dial(encounters, peer.key, dial(self, exchange, dialer, peer), (exit) =>
        ended(self, exchange, peer, exit)
      )
  })
  const ticking = Effect.repeat(tick(self, exchange), Schedule.spaced("1 second"))
  return yield* Effect.andThen(Effect.all([dialing, ticking], { concurrency: "unbounded" }), Effect.never)
})

const tick = <M extends Roster.Member>(self: Swarm<M>, exchange: Exchange<M>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const now = Monotonic.nowUnsafe(self.clock)
    if (PeerBook.pardon(self.book, now)) Dialling.wake(self.dialling)
    if (self.isRankStale) PeerBook.rank(self.book)
    self.isRankStale = false
    reportHangUps(self)
    return exchange.tick(now)
  })

const reportHangUps = <M extends Roster.Member>({ book, callers, hangUps, report }: Swarm<M>): void => {
  const peers = HangUps.count(hangUps, book) + callers.hosts.size
  if (HangUps.isDue(hangUps, peers)) report({ _tag: "PeersHungUp", peers })
}

const ourselves = <M extends Roster.Member>(
  { infoHash, peerId }: Swarm<M>,
  { features }: Exchange<M>
): Introduction.Ourselves => ({ infoHash, peerId, features })

const dial = Effect.fnUntraced(function* <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>,
  dialer: Dialer["Service"],
  peer: PeerBook.Peer
): Effect.fn.Return<void, EncounterError, Scope.Scope> {
  // It may have waited long for a connection, and may not be needed any more.
  if (peer.state !== "connecting" || !exchange.wantsPeers()) return yield* Effect.interrupt
  const connection = yield* Dial.connect(dialer, peer.address)
  const introduced = yield* Introduction.dialled(connection, ourselves(self, exchange)).pipe(
    Effect.tapError((error) => Effect.sync(() => isHangUp(error) && self.hangUps.keys.add(peer.key)))
  )
  yield* exchange.converse(peer.key, introduced, (member) => join(self, exchange, peer, member))
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
    const run = Effect.flatMap(Introduction.answer(caller, ourselves(self, exchange)), (introduced) =>
      exchange.converse(peer.key, introduced, (member) => join(self, exchange, peer, member))
    )
    return { key: peer.key, run, ended: (exit) => ended(self, exchange, peer, exit) }
  })

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
  self.hangUps.keys.delete(peer.key)
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
  exit: Exit.Exit<void, EncounterError>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { book, report, roster } = self
    const now = Monotonic.nowUnsafe(self.clock)
    const member = roster.members.get(peer.key)
    roster.members.delete(peer.key)
    const error = Option.getOrUndefined(Exit.findErrorOption(exit))
    const isUseful = member !== undefined && exchange.left(peer.key, member, error)
    if (error?._tag === "SelfConnection") PeerBook.exclude(book, peer, now)
    else PeerBook.disconnected(book, peer, now, isUseful)
    if (member !== undefined) {
      if (peer.state !== "banned") rememberWhereItListens(self, exchange, member, isUseful)
      if (exchange.isDone(member)) PeerBook.leave(peer)
    }
    const why = error?.why ?? reasonOf(exit)
    if (member !== undefined) report({ _tag: "PeerDisconnected", address: peer.address, why })
    // A dial that we cancelled says nothing about the peer. A failed incoming connection says nothing about whether the
    // peer is reachable.
    // That we found ourselves is of no use to anybody.
    else if (peer.isDialable && !Exit.hasInterrupts(exit) && error?._tag !== "SelfConnection") {
      report({ _tag: "PeerUnreachable", address: peer.address, why })
    }
    Dialling.wake(self.dialling)
    return Exit.isFailure(exit) && Cause.hasDies(exit.cause)
      ? Effect.logError("a session with a peer ended with a defect", exit.cause)
      : Effect.void
  })

/** Notes where a peer that connected to us can be dialled, if it has sent the port at which it listens. */
const rememberWhereItListens = <M extends Roster.Member>(
  { book, clock, roster }: Swarm<M>,
  exchange: Exchange<M>,
  member: M,
  isUseful: boolean
): void => {
  const now = Monotonic.nowUnsafe(clock)
  const address = member.isIncoming ? roster.dialAddress(member) : undefined
  const peer = address && PeerBook.add(book, address, now)
  if (peer === undefined) return
  PeerBook.disconnected(book, peer, now, isUseful)
  if (exchange.isDone(member)) PeerBook.leave(peer)
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
  if (peer === undefined || !PeerBook.ban(book, peer, Monotonic.nowUnsafe(self.clock))) return
  self.report({ _tag: "PeerBanned", address: peer.address, why })
  // The ban may have become one of a whole host.
  for (const other of [...book.peers.values()]) {
    if (other.state !== "banned") continue
    const member = roster.members.get(other.key)
    // Interrupts a dial, also one that waits for a connection.
    if (member === undefined) Encounters.interruptUnsafe(encounters, other.key)
    else member.failUnsafe(new PeerDropped({ why: "it is banned" }))
  }
}
