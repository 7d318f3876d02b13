/**
 * The peers of one torrent: which are known (`PeerBook.ts`), connected (`Roster.ts`), dialled (`Dialling.ts`), accepted
 * and banned. After its introduction a peer joins an exchange: of pieces (`PieceSwarm.ts`) or of metadata
 * (`torrent/MetadataFetch.ts`).
 *
 * Plain data of one owner. `run` dials; sessions, loops and the owner use the rest synchronously.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Descriptors from "../base/Descriptors.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerId } from "../base/PeerId.ts"
import type * as Prng from "../base/Prng.ts"
import * as Approach from "../connect/Approach.ts"
import * as Callers from "../connect/Callers.ts"
import * as Encryption from "../connect/Encryption.ts"
import * as Introduction from "../connect/Introduction.ts"
import * as OwnAddresses from "../connect/OwnAddresses.ts"
import * as OwnedFibers from "../connect/OwnedFibers.ts"
import * as Places from "../connect/Places.ts"
import { Dialer } from "../network/Transport.ts"
import { NotAdmitted } from "../peer/NotAdmitted.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import type { SessionError } from "../peer/PeerSession.ts"
import type { SupplierId, SupplierIds } from "../supply/SupplierId.ts"
import type * as Handshake from "../wire/Handshake.ts"
import * as Admission from "./Admission.ts"
import * as Bans from "./Bans.ts"
import * as Candidate from "./Candidate.ts"
import * as Dialling from "./Dialling.ts"
import type { EncounterError } from "./EncounterEnds.ts"
import * as EncounterEnds from "./EncounterEnds.ts"
import * as Encounters from "./Encounters.ts"
import * as ExternalAddress from "./ExternalAddress.ts"
import * as HangUps from "./HangUps.ts"
import * as Ourselves from "./Ourselves.ts"
import * as PeerBook from "./PeerBook.ts"
import * as PolicyGuard from "./PolicyGuard.ts"
import type { Refusals } from "./Refusals.ts"
import * as Roster from "./Roster.ts"
import type { Fact } from "./SwarmFact.ts"

/** The peers of one torrent. */
export interface Swarm<M extends Roster.Member> extends Ourselves.Ourselves {
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  readonly book: PeerBook.PeerBook
  readonly roster: Roster.Roster<M>
  readonly admission: Admission.Admission
  readonly encounters: Encounters.Encounters
  readonly dialling: Dialling.Dialling
  readonly hangUps: HangUps.HangUps
  /** The peers that called the engine without a handshake that we accept. */
  readonly callers: Callers.Callers
  readonly refusals: Refusals
  /** How the connections of its peers are encrypted. */
  readonly encryption: Encryption.Encryption
  /**
   * Whether our external address has changed since the book was ranked. Any peer can cause that, so only a tick ranks
   * it.
   */
  isRankStale: boolean
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
  /** The peers that called the engine without a handshake that we accept; default none. */
  readonly callers?: Callers.Callers | undefined
  /** How the connections of its peers are encrypted. Dials read it from the context, too. */
  readonly encryption?: Encryption.Encryption | undefined
  /** Those that were counted and reported before; default none. */
  readonly hangUps?: HangUps.HangUps | undefined
  /** Our own addresses, which all torrents of an engine share; default none. */
  readonly own?: OwnAddresses.OwnAddresses | undefined
  /** The places that all torrents of an engine share. */
  readonly places: Places.Places
  readonly dialAddress: Roster.Roster<M>["dialAddress"]
  /** The policy about peers; default the standard one. */
  readonly policy?: PolicyGuard.PolicyGuard | undefined
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
    join: (member: M) => SessionError | undefined
  ) => Effect.Effect<void, SessionError>
  /** Called when a member is about to join. If it returns an error, the session ends with it. */
  readonly admit: (member: M) => SessionError | undefined
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
  const port = () => options.port() ?? 0
  const us = () => Ourselves.seen({ external, port })
  const admission: Admission.Admission = {
    infoHash: options.infoHash,
    guard: options.policy ?? PolicyGuard.standard
  }
  const book = PeerBook.make(
    options.random,
    (address, origin) => Admission.priority(admission, { address, origin }, us()),
    options.ids,
    (address, origin) => Admission.rank(admission, { address, origin })
  )
  const dialling = Dialling.make(book, options.maxDialing ?? Dialling.maxDialing)
  const { clock, fibers, maxConnections, places } = options
  return {
    infoHash: options.infoHash,
    peerId: options.peerId,
    book,
    roster: Roster.make(options.dialAddress),
    admission,
    hangUps: options.hangUps ?? HangUps.make(),
    callers: options.callers ?? Callers.make(),
    encryption: options.encryption ?? Encryption.plain,
    encounters: Encounters.make({ fibers, clock, max: maxConnections, places, wake: () => Dialling.wake(dialling) }),
    dialling,
    external,
    own: options.own ?? OwnAddresses.make(),
    port,
    refusals: new Map(),
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
    wantsPeers: () => !OwnedFibers.hasEnded(encounters.fibers) && exchange.wantsPeers(),
    // What is known of ourselves may have changed since the address was named.
    admits: (peer) => Admission.admits(self.admission, peer) && !Ourselves.has(self, peer.address),
    dialing: () => Places.dials(share),
    takeDial: (peer) => Places.takeDial(places, share, peer.rank),
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

const reportHangUps = <M extends Roster.Member>(self: Swarm<M>, now: number): void => {
  const { policy: encryption } = self.encryption
  const peers = HangUps.count(self.hangUps, self.book) + Callers.count(self.callers, now)
  if (HangUps.isDue(self.hangUps, peers)) self.report({ _tag: "PeersHungUp", peers, encryption })
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
  Encounters.dial<Introduction.Introduced, SessionError, Introduction.IntroductionError | NotAdmitted, never>(
    self.encounters,
    {
      key: peer.key,
      host: peer.address.host,
      rankOf: ({ peerId }) => Admission.rank(self.admission, { ...peer, peerId }),
      introduce: Approach.introduce({
        dialer,
        address: peer.address,
        from: Candidate.reachOf(peer.origin),
        ourselves: ourselves(self, exchange),
        hungUp: () => HangUps.add(self.hangUps, peer.key)
      }).pipe(
        Effect.filterOrFail(
          ({ peerId }) => Admission.admits(self.admission, { ...peer, peerId }),
          () => new NotAdmitted()
        )
      ),
      converse: (introduced, place) => converse(self, exchange, peer, introduced, place),
      ended: (exit, place) => ended(self, exchange, peer, exit, place)
    }
  )

/**
 * Answers a peer that asks for the torrent, and closes `scope`, that of its connection, when its session has ended.
 * Closes it at once if there is no room, if the address is banned or not admitted, or if no peers are wanted.
 */
export const accept = <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>,
  caller: Introduction.Caller,
  scope: Scope.Closeable
): Effect.Effect<void> =>
  Encounters.accept(self.encounters, scope, () => {
    if (!exchange.wantsPeers()) return undefined
    const now = Monotonic.nowUnsafe(self.clock)
    const { remote } = caller.connection
    const { peerId } = caller.handshake
    const known = { address: remote, origin: Candidate.incoming, peerId }
    if (!Admission.admits(self.admission, known)) {
      PeerBook.notAdmitted(self.book, remote, now)
      return undefined
    }
    const peer = PeerBook.arrive(self.book, remote, now)
    if (peer === undefined) return undefined
    return {
      key: peer.key,
      host: peer.address.host,
      rank: Admission.rank(self.admission, known),
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
      leave: (why) => member.failUnsafe(new PeerDropped({ why: EncounterEnds.reasons[why] }))
    }
    return undefined
  })

const join = <M extends Roster.Member>(
  self: Swarm<M>,
  exchange: Exchange<M>,
  peer: PeerBook.Peer,
  member: M
): SessionError | undefined => {
  if (peer.state === "banned") return new PeerDropped({ why: "it is banned" })
  if (!exchange.wantsPeers()) return new PeerDropped({ why: "nothing more is downloaded or uploaded" })
  const client = member.client?.()
  if (client !== undefined && !Admission.admitsClient(self, peer.key, member.peerId, client)) return new NotAdmitted()
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
    const end = EncounterEnds.endOf(isUseful, error, place, member === undefined && Exit.hasInterrupts(exit))
    const why = error?.why ?? EncounterEnds.reasonOf(exit)
    const offence = EncounterEnds.offenceOf(end, error)
    const banned = offence === undefined ? [] : Admission.judge(self, peer, { ...member, what: offence, why }, now)
    expel(self, peer, banned, why)
    if (error?._tag === "SelfConnection") {
      OwnAddresses.note(self.own, peer.address, now)
      Bans.exclude(book, peer, now)
    } else PeerBook.disconnected(book, peer, now, end)
    if (member !== undefined) {
      if (peer.state !== "banned" && !peer.isFormer) rememberWhereItListens(self, exchange, peer, member, end)
      if (exchange.isDone(member)) PeerBook.leave(book, peer)
    }
    if (member !== undefined) report({ _tag: "PeerDisconnected", address: peer.address, why })
    else if (peer.isDialable && EncounterEnds.isUnreachable(end, error))
      report({ _tag: "PeerUnreachable", address: peer.address, why })
    Dialling.wake(self.dialling)
    if (end === "not tried") {
      Places.noteShortage(self.encounters.places, now)
      return Effect.asVoid(Descriptors.freeSpare)
    }
    return Exit.isFailure(exit) && Cause.hasDies(exit.cause)
      ? Effect.logError("a session with a peer ended with a defect", exit.cause)
      : Effect.void
  })

/** Notes where a peer that connected to us can be dialled, if it has sent the port at which it listens. */
const rememberWhereItListens = <M extends Roster.Member>(
  { admission, book, clock, encryption, roster }: Swarm<M>,
  exchange: Exchange<M>,
  { origin: named }: PeerBook.Peer,
  member: M,
  end: PeerBook.EncounterEnd
): void => {
  const now = Monotonic.nowUnsafe(clock)
  const address = member.isIncoming ? roster.dialAddress(member) : undefined
  // The user may have named it while it was connected.
  const origin = Candidate.isGiven(named) ? named : Candidate.incoming
  const known = address && { address, origin, peerId: member.peerId }
  if (known === undefined || (end !== "not admitted" && !Admission.admits(admission, known))) return
  if (member.prefersEncryption()) encryption.notePreference(known.address)
  const peer = PeerBook.add(book, known.address, now, known.origin)
  if (peer === undefined) return
  PeerBook.disconnected(book, peer, now, end)
  if (exchange.isDone(member)) PeerBook.leave(book, peer)
}

/** Notes how a peer or a tracker (`voter`) sees us. Peers are dialled in the order of BEP 40, which depends on it. */
export const seenAs = <M extends Roster.Member>(self: Swarm<M>, voter: string, host: string): void => {
  if (ExternalAddress.vote(self.external, voter, host)) self.isRankStale = true
}

/** Bans a peer that lied, and ends its session and whatever else the ban affects. */
export const ban = <M extends Roster.Member>(self: Swarm<M>, key: number, why: string): void => {
  const peer = self.book.peers.get(key)
  if (peer === undefined) return
  const offence = { ...self.roster.members.get(key), what: "lie", why } as const
  expel(self, peer, Admission.judge(self, peer, offence, Monotonic.nowUnsafe(self.clock)), why)
}

/** Ends the sessions with banned peers, and dials of them. One that is ending anyway does not notice. */
const expel = <M extends Roster.Member>(
  { encounters, report, roster }: Swarm<M>,
  { address }: PeerBook.Peer,
  banned: ReadonlyArray<PeerBook.Peer>,
  why: string
): void => {
  if (banned.length > 0) report({ _tag: "PeerBanned", address, why })
  for (const { key } of banned) {
    const member = roster.members.get(key)
    if (member === undefined) Encounters.interruptUnsafe(encounters, key)
    else member.failUnsafe(new PeerDropped({ why: "it is banned" }))
  }
}
