/**
 * The peers with which a torrent exchanges pieces. Most torrents rest without any, and have no parts for them until
 * there is an address or a peer (`PieceExchange.ts`). One tick serves the timers of all sessions.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type * as PeerAddress from "../base/PeerAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import * as Callers from "../connect/Callers.ts"
import type { Policy } from "../connect/Encryption.ts"
import * as Encryption from "../connect/Encryption.ts"
import type { Accept } from "../connect/Incoming.ts"
import * as OwnedFibers from "../connect/OwnedFibers.ts"
import * as Places from "../connect/Places.ts"
import type { Dialer } from "../network/Transport.ts"
import * as PeerPieces from "../peer/PeerPieces.ts"
import * as PeerProtocol from "../peer/PeerProtocol.ts"
import type * as Upload from "../peer/Upload.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as Addresses from "./Addresses.ts"
import * as Bans from "./Bans.ts"
import type { Origin } from "./Candidate.ts"
import * as Candidate from "./Candidate.ts"
import * as Choking from "./Choking.ts"
import * as Dialling from "./Dialling.ts"
import * as Encounters from "./Encounters.ts"
import * as HangUps from "./HangUps.ts"
import * as Offers from "./Offers.ts"
import * as PeerBook from "./PeerBook.ts"
import * as PeerStatus from "./PeerStatus.ts"
import * as PieceExchange from "./PieceExchange.ts"
import * as Roster from "./Roster.ts"
import * as Swarm from "./Swarm.ts"

/** How long sent blocks may take to arrive before peers are disconnected at the end of seeding. */
export const partingTime = "3 seconds"

/** The peers of one torrent. */
export interface PieceSwarm {
  readonly options: PieceExchange.Options
  readonly clock: Clock.Clock
  /** Whether it super-seeds. Decided at the start. */
  readonly superSeeds: boolean
  readonly hangUps: HangUps.HangUps
  /** What it uploads from `serve` on. */
  upload: Upload.Upload | undefined
  /** Present once there was an address or a peer. Most torrents rest without any. */
  parts: PieceExchange.PieceExchange | undefined
  /** The peers that we left when sessions were ended. */
  left: ReadonlyArray<number>
}

/** How many there are. */
export interface Counts {
  readonly connected: number
  /** Connections that are being opened. */
  readonly dialling: number
  /** Connected peers that may request blocks. */
  readonly unchoked: number
  /** Connected peers that want pieces from us. */
  readonly interested: number
  /** Known addresses. */
  readonly known: number
  readonly banned: number
  /** Addresses of peers that closed our latest connection to them before the handshake. */
  readonly hungUp: number
  readonly encryption: Policy
}

/** Makes a swarm without addresses. */
export const make = (options: PieceExchange.Options, clock: Clock.Clock): PieceSwarm => ({
  options,
  clock,
  superSeeds: options.superSeeds === true && PieceTable.isComplete(options.assembly.table),
  hangUps: HangUps.make(),
  upload: undefined,
  parts: undefined,
  left: []
})

/**
 * Lets it meet peers, now that it is known what can be uploaded. Every session ends when the scope closes. If it met
 * peers before, those are dialled soon.
 */
export const serve = (self: PieceSwarm, upload: Upload.Upload): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    self.upload = upload
    if (self.parts !== undefined) meetAgain(self, self.parts)
    return Effect.addFinalizer(() => {
      self.upload = undefined
      return endSessions(self)
    })
  })

const meetAgain = (self: PieceSwarm, { swarm }: PieceExchange.PieceExchange): void => {
  const { clock, options } = self
  Encounters.begin(swarm.encounters)
  const now = Monotonic.nowUnsafe(clock)
  for (const key of self.left) {
    const peer = swarm.book.peers.get(key)
    if (peer?.state === "idle") PeerBook.disconnected(swarm.book, peer, now, "useful")
  }
  self.left = []
  Dialling.wake(swarm.dialling)
  Signal.set(options.assembly.isNeeded)
}

/** Ends every session and every dial. Peers are met again only after another `serve`. */
export const endSessions = (self: PieceSwarm): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { parts } = self
    if (parts === undefined) return Effect.void
    self.left = [...self.left, ...parts.swarm.roster.members.keys()]
    return Encounters.endAll(parts.swarm.encounters)
  })

/** Dials and chokes until the scope closes. To be called when `Assembly.isNeeded` is set. */
export const run = (self: PieceSwarm): Effect.Effect<void, never, Dialer | Scope.Scope> =>
  Effect.suspend(() => {
    const parts = partsOf(self)
    if (parts === undefined) return Effect.void
    const { choking, exchange, swarm } = parts
    return Effect.andThen(Swarm.run(swarm, exchange), Choking.run(choking))
  })

/** The parts of a swarm that has met somebody or has an address; makes them. `undefined` unless it serves. */
const partsOf = (self: PieceSwarm): PieceExchange.PieceExchange | undefined => {
  if (self.parts !== undefined || self.upload === undefined) return self.parts
  const { clock, hangUps, options, superSeeds, upload } = self
  const fibers = OwnedFibers.makeUnsafe<number>()
  self.parts = PieceExchange.make(options, { fibers, clock, hangUps, upload, superSeeds })
  Signal.set(options.assembly.isNeeded)
  return self.parts
}

/** Takes a peer that asks for the torrent. See `Swarm.accept`. */
export const accept = (self: PieceSwarm, ...[caller, scope]: Parameters<Accept>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const parts = PieceExchange.wantsPeers(self.options) ? partsOf(self) : self.parts
    return parts === undefined
      ? Scope.close(scope, Exit.void)
      : Swarm.accept(parts.swarm, parts.exchange, caller, scope)
  })

/** How somebody sees us. Peers are dialled in the order of BEP 40, which depends on it. */
export interface Vote {
  readonly voter: string
  /** Our address. */
  readonly host: string
}

/** Adds addresses that may be dialled (`Addresses.add`), and notes how their source sees us. Returns how many were new. */
export const add = (
  self: PieceSwarm,
  addresses: ReadonlyArray<PeerAddress.PeerAddress>,
  vote?: Vote,
  origin: Origin = Candidate.given
): number => {
  const parts = addresses.length === 0 ? self.parts : partsOf(self)
  if (parts === undefined) return 0
  if (vote !== undefined) Swarm.seenAs(parts.swarm, vote.voter, vote.host)
  return Addresses.add(parts.swarm, addresses, origin)
}

/** Reports addresses that are not used, and why. */
export const refuse = (self: PieceSwarm, origin: Origin, addresses: number, why: string): void => {
  const parts = addresses === 0 ? self.parts : partsOf(self)
  if (parts !== undefined) Addresses.refuse(parts.swarm, origin, addresses, why)
}

/** Gives up the peers of which `isFormer` is true. See `Addresses.dismiss`. */
export const giveUp = ({ parts }: PieceSwarm, isFormer: (origin: Origin) => boolean, why: string): void => {
  if (parts !== undefined) Addresses.dismiss(parts.swarm, isFormer, why)
}

/** Bans an address, and every session with it, until the ban ends. */
export const ban = ({ parts }: PieceSwarm, key: SupplierId, why: string): void => {
  if (parts !== undefined) Swarm.ban(parts.swarm, key, why)
}

/** Notes that the peers sent right bytes. */
export const prove = ({ parts }: PieceSwarm, keys: Iterable<SupplierId>): void => {
  if (parts !== undefined) PeerBook.prove(parts.swarm.book, keys)
}

/** `undefined` for a peer that connected to us, left long ago and was forgotten. */
export const addressOf = ({ parts }: PieceSwarm, key: SupplierId): PeerAddress.PeerAddress | undefined =>
  parts?.swarm.book.peers.get(key)?.address

/** Does what is due. To be called every second. */
export const tick = (self: PieceSwarm, now: number): Effect.Effect<void> | undefined => {
  const parts = self.superSeeds ? partsOf(self) : self.parts
  if (parts === undefined) {
    reportCallers(self, now)
    return undefined
  }
  const { offers, options, swarm } = parts
  Swarm.tick(swarm, now)
  const isAlone = swarm.roster.members.size === 0 && options.assembly.suppliers.size === 0
  return isAlone && offers?.machine === undefined ? undefined : PieceExchange.tick(parts, now)
}

/** Peers that call without a handshake are reported also by a torrent that has none of its own. */
const reportCallers = ({ hangUps, options }: PieceSwarm, now: number): void => {
  const { callers, report } = options
  const peers = callers === undefined ? 0 : Callers.count(callers, now)
  if (HangUps.isDue(hangUps, peers)) report({ _tag: "PeersHungUp", peers, encryption: policyOf(options) })
}

const policyOf = ({ encryption = Encryption.plain }: PieceExchange.Options): Policy => encryption.policy

const dismissDone = ({ options, swarm }: PieceExchange.PieceExchange): void =>
  Roster.dismiss(
    swarm.roster,
    (session) => PieceExchange.areBothDone(options, session),
    "neither side wants anything more"
  )

/** Announces a stored piece to every peer, and disconnects peers if neither side wants anything more. */
export const announce = ({ parts }: PieceSwarm, piece: PieceIndex): void => {
  if (parts === undefined) return
  const { offers, swarm } = parts
  if (offers !== undefined) Offers.restore(offers, piece, Monotonic.nowUnsafe(swarm.clock))
  for (const { protocol } of swarm.roster.members.values()) PeerProtocol.announce(protocol, piece)
  dismissDone(parts)
}

/**
 * Withdraws announced pieces that cannot be read any more from every peer (BEP 54). A peer that does not support this
 * is disconnected, and receives the pieces that are left when it connects again.
 */
export const retract = (self: PieceSwarm, pieces: ReadonlyArray<PieceIndex>): void => {
  const parts = self.superSeeds ? partsOf(self) : self.parts
  if (parts === undefined) return
  const { offers, swarm } = parts
  if (offers !== undefined) Offers.retract(offers, pieces)
  Roster.dismiss(
    swarm.roster,
    ({ protocol }) => pieces.map((piece) => PeerProtocol.retract(protocol, piece)).includes(false),
    "pieces are gone, and it does not support withdrawing them"
  )
}

/** Handles a change of the wanted pieces: updates our interest in every peer, and dials peers that had been left. */
export const reconsider = ({ parts }: PieceSwarm): void => {
  if (parts === undefined) return
  const { choking, options, swarm } = parts
  if (!PieceExchange.isFinished(options)) {
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

/** Ends all uploads, and disconnects all peers after blocks on the way had time to arrive. */
export const dismiss = Effect.fnUntraced(function* (self: PieceSwarm, why: string) {
  const parts = partsOf(self)
  if (parts === undefined) return
  const { choking, options, swarm } = parts
  choking.isParting = true
  Choking.choose(choking, yield* Monotonic.now)
  yield* Effect.sleep(partingTime)
  if (!PieceExchange.wantsPeers(options)) Roster.dismiss(swarm.roster, () => true, why)
})

const none = { connected: 0, dialling: 0, unchoked: 0, interested: 0, known: 0, banned: 0, hungUp: 0 }

/** Counts peers and addresses. */
export const counts = ({ options, parts }: PieceSwarm): Counts => {
  const encryption = policyOf(options)
  if (parts === undefined) return { ...none, encryption }
  const { book, encounters, hangUps, roster } = parts.swarm
  let unchoked = 0
  let interested = 0
  for (const { protocol } of roster.members.values()) {
    if (!protocol.uploads.isChoking) unchoked++
    if (protocol.peerInterested) interested++
  }
  return {
    connected: roster.members.size,
    dialling: Places.dials(encounters.share),
    unchoked,
    interested,
    known: book.peers.size,
    banned: Bans.bannedCount(book),
    hungUp: HangUps.count(hangUps, book),
    encryption
  }
}

/** The connected peers. */
export const peers = ({ parts }: PieceSwarm): ReadonlyArray<PeerStatus.PeerStatus> =>
  parts === undefined ? [] : Array.from(parts.swarm.roster.members.values(), PeerStatus.of)

/** How many connected peers have a piece that is wanted and missing here, and how many of these have unchoked us. */
export const prospects = ({ parts }: PieceSwarm): { readonly interesting: number; readonly unchoking: number } => {
  let interesting = 0
  let unchoking = 0
  for (const { protocol } of parts?.swarm.roster.members.values() ?? []) {
    if (!protocol.amInterested) continue
    interesting++
    if (!protocol.peerChoking) unchoking++
  }
  return { interesting, unchoking }
}
