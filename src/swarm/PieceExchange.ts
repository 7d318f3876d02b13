import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"
import * as Assembly from "../assembly/Assembly.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Requests from "../assembly/Requests.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import * as Naming from "../base/Naming.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"
import type { Callers } from "../connect/Callers.ts"
import type { Encryption } from "../connect/Encryption.ts"
import type { Introduced } from "../connect/Introduction.ts"
import type { OwnAddresses } from "../connect/OwnAddresses.ts"
import type { Places, Use } from "../connect/Places.ts"
import type { OurNode } from "../peer/DhtContact.ts"
import { NotAdmitted } from "../peer/NotAdmitted.ts"
import type { TorrentExtensions } from "../peer/PeerExtensions.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import * as PeerProtocol from "../peer/PeerProtocol.ts"
import * as PeerSession from "../peer/PeerSession.ts"
import type * as Upload from "../peer/Upload.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import type { TorrentLimits } from "../rate/RateLimits.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import * as Addresses from "./Addresses.ts"
import * as Admission from "./Admission.ts"
import * as Candidate from "./Candidate.ts"
import * as Choker from "./Choker.ts"
import * as Choking from "./Choking.ts"
import * as Contacts from "./Contacts.ts"
import { Contender } from "./Contender.ts"
import type { EncounterError } from "./EncounterEnds.ts"
import * as Offers from "./Offers.ts"
import type * as PolicyGuard from "./PolicyGuard.ts"
import * as Roster from "./Roster.ts"
import * as Swarm from "./Swarm.ts"
import type { Fact } from "./SwarmFact.ts"
import * as Usefulness from "./Usefulness.ts"

/** The most connections of one torrent by default. More rarely make a download faster. */
export const defaultMaxConnections = 50

/** What a swarm is made from. */
export interface Options {
  readonly assembly: Assembly.Assembly
  readonly infoHash: InfoHash
  /** What peers receive besides pieces (BEP 10). */
  readonly extensions: Pick<TorrentExtensions, "info" | "isPrivate" | "port">
  /** Our node of the DHT (BEP 5); absent: there is none, or the torrent is private. */
  readonly dht?: OurNode | undefined
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
  /** The peers that called the engine without a handshake that we accept; default none. */
  readonly callers?: Callers | undefined
  /** Our own addresses, which all torrents of an engine share; default none. */
  readonly own?: OwnAddresses | undefined
  /** How the connections of its peers are encrypted; default not. */
  readonly encryption?: Encryption | undefined
  /** The places that all torrents of an engine share. */
  readonly places: Places
  /** The policy about peers; default the standard one. */
  readonly policy?: PolicyGuard.PolicyGuard | undefined
  /** Where the time of requests is recorded; absent: nowhere. */
  readonly requestSeconds?: PeerSession.Options["requestSeconds"]
  readonly report: (fact: Fact) => void
}

/** The parts of such a swarm. */
export interface PieceExchange {
  readonly options: Options
  readonly swarm: Swarm.Swarm<PeerSession.PeerSession>
  readonly choking: Choking.Choking
  /** What the choker sees of the connected peers, by their keys. */
  readonly contenders: Map<number, Contender>
  /** Present if the swarm super-seeds. */
  readonly offers: Offers.Offers | undefined
  readonly exchange: Swarm.Exchange<PeerSession.PeerSession>
  /** Increases when a peer that can be dialled joins, leaves, or says another port. */
  contactsVersion: number
  /** Runs the turns of sessions that were woken. */
  turns: Scheduler.SchedulerDispatcher | undefined
}

/** How sessions are served. */
export interface Serving extends Pick<Swarm.Options<PeerSession.PeerSession>, "clock" | "fibers" | "hangUps"> {
  readonly upload: Upload.Upload
  /** Whether it super-seeds: everything is stored from the start. */
  readonly superSeeds: boolean
}

/** Makes them without addresses. */
export const make = (options: Options, { clock, fibers, hangUps, superSeeds, upload }: Serving): PieceExchange => {
  const { assembly, extensions, limits, random } = options
  const swarm = Swarm.make<PeerSession.PeerSession>({
    fibers,
    clock,
    infoHash: options.infoHash,
    peerId: options.peerId,
    port: extensions.port,
    random,
    ids: assembly.ids,
    maxConnections: options.maxConnections ?? defaultMaxConnections,
    callers: options.callers,
    encryption: options.encryption,
    hangUps,
    own: options.own,
    places: options.places,
    dialAddress: Contacts.dialAddress,
    policy: options.policy,
    report: options.report
  })
  const contenders = new Map<number, Contender>()
  const offers = superSeeds ? Offers.make({ geometry: assembly.geometry, random }) : undefined
  const choking = Choking.make({
    slots: (bytesPerSecond) =>
      options.uploadSlots ??
      Choker.slotsFor(limits && RateLimiter.lowest(limits.upload), isFinished(options) ? bytesPerSecond : 0),
    peers: () => contenders.values(),
    isSeeding: () => isFinished(options),
    prefersNearlyDone: () => isFinished(options) && !isOffering(offers),
    random,
    policy: options.policy
  })
  const parts: PieceExchange = {
    options,
    swarm,
    choking,
    contenders,
    offers,
    exchange: {
      features: { ...PeerSession.features, dht: options.dht !== undefined },
      wantsPeers: () => wantsPeers(options),
      converse: (key, introduced, join) => converse(parts, upload, key, introduced, join),
      admit: (member) => admit(parts, member),
      left: (key, member, error) => left(parts, key, member, error),
      useOf: (member, now) => useOf(options, member, now),
      isDone: (member) => areBothDone(options, member)
    },
    contactsVersion: 0,
    turns: undefined
  }
  return parts
}

const isOffering = (offers: Offers.Offers | undefined): boolean => offers?.machine !== undefined

/** Whether everything that is wanted is stored. */
export const isFinished = ({ assembly }: Options): boolean => PieceTable.isFinished(assembly.table)

/** Whether peers are of any use now. */
export const wantsPeers = (options: Options): boolean => !isFinished(options) || options.seeds?.() === true

/** Whether neither side wants anything more. */
export const areBothDone = (options: Options, { protocol }: PeerSession.PeerSession): boolean =>
  isFinished(options) && Bitfield.isFull(protocol.has)

/** What is exchanged with a peer besides pieces. */
const extensionsOf = (parts: PieceExchange, key: SupplierId, { connection, peerId }: Introduced): TorrentExtensions => {
  const { offers, options, swarm } = parts
  return {
    ...options.extensions,
    prefersEncryption: swarm.encryption.policy !== "off",
    isUploadOnly: () => isFinished(options) && !isOffering(offers),
    contacts: (remote) => Contacts.others(swarm.roster.members.values(), remote),
    contactsVersion: () => parts.contactsVersion,
    portChanged: () => void parts.contactsVersion++,
    seenAs: ({ host }, ourHost) => Swarm.seenAs(swarm, host, ourHost),
    named: (client) => {
      if (!Admission.admitsClient(swarm, key, peerId, client)) throw new NotAdmitted()
    },
    found: (contacts, refused) => {
      const origin = Candidate.exchange(connection.remote.host)
      for (const address of Contacts.preferringEncryption(contacts)) swarm.encryption.notePreference(address)
      Addresses.refuse(swarm, origin, refused, Naming.lessPublic)
      Addresses.add(
        swarm,
        contacts.map(({ address }) => address),
        origin
      )
    }
  }
}

const converse = Effect.fnUntraced(function* (
  parts: PieceExchange,
  upload: Upload.Upload,
  ...[key, introduced, join]: Parameters<Swarm.Exchange<PeerSession.PeerSession>["converse"]>
) {
  const { choking, offers, options, swarm } = parts
  const { clock } = swarm
  parts.turns ??= (yield* Scheduler.Scheduler).makeDispatcher()
  const allowedFast = yield* options.allowedFast?.(introduced.connection.remote.host) ?? Effect.succeed([])
  yield* PeerSession.run({
    introduced,
    assembly: options.assembly,
    upload,
    limits: options.limits,
    requestSeconds: options.requestSeconds,
    offer:
      offers &&
      Offers.offerOf(
        offers,
        key,
        (other) => protocolOf(swarm, other),
        () => Monotonic.nowUnsafe(clock)
      ),
    allowedFast,
    extensions: extensionsOf(parts, key, introduced),
    dht: options.dht,
    id: key,
    onOpen: (session) => {
      const refusal = join(session)
      if (refusal === undefined) parts.contenders.set(key, contenderOf(parts, key, session))
      return refusal
    },
    onInterest: () => Choking.chooseSoon(choking),
    turns: parts.turns
  })
})

const contenderOf = ({ options, swarm }: PieceExchange, key: SupplierId, session: PeerSession.PeerSession): Contender =>
  new Contender({
    ...session,
    origin: swarm.book.peers.get(key)?.origin ?? Candidate.incoming,
    infoHash: options.infoHash
  })

const protocolOf = (
  { roster }: Swarm.Swarm<PeerSession.PeerSession>,
  key: number
): PeerProtocol.PeerProtocol | undefined => roster.members.get(key as SupplierId)?.protocol

const admit = (parts: PieceExchange, session: PeerSession.PeerSession): PeerDropped | undefined => {
  const { offers, swarm } = parts
  const refusal = Roster.keepOne(swarm.roster, session, swarm.peerId)
  if (refusal === undefined && Contacts.dialAddress(session) !== undefined) parts.contactsVersion++
  if (refusal === undefined && offers !== undefined) Offers.join(offers, session.protocol, session.openedAt)
  return refusal
}

const left = (
  parts: PieceExchange,
  key: SupplierId,
  session: PeerSession.PeerSession,
  error: EncounterError | undefined
): boolean => {
  const { choking, offers, swarm } = parts
  const { protocol } = session
  parts.contenders.delete(key)
  if (Contacts.dialAddress(session) !== undefined) parts.contactsVersion++
  if (offers !== undefined) Offers.leave(offers, key, Monotonic.nowUnsafe(swarm.clock))
  if (!protocol.uploads.isChoking) Choking.chooseSoon(choking)
  return (protocol.usefulBytes > 0 || protocol.uploadedBytes > 0) && error?._tag !== "piecewise/WireError"
}

/** Does what is due for the suppliers. To be called every second. */
export const tick = Effect.fnUntraced(function* ({ choking, offers, options, swarm }: PieceExchange, now: number) {
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
