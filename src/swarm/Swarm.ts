/**
 * The peers of one torrent: dials known addresses within limits, takes those that come by themselves, runs a session for
 * each, tries again with patience, and bans peers that sent wrong bytes. One ticker serves the timers of all sessions.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Assembly from "../assembly/Assembly.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Requests from "../assembly/Requests.ts"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type * as PeerAddress from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"
import * as ConnectionLimit from "../connect/ConnectionLimit.ts"
import * as Dial from "../connect/Dial.ts"
import * as DialPriority from "../connect/DialPriority.ts"
import * as Introduction from "../connect/Introduction.ts"
import * as OwnedFibers from "../connect/OwnedFibers.ts"
import type { TorrentExtensions } from "../peer/PeerExtensions.ts"
import { PeerDropped } from "../peer/PeerPatience.ts"
import * as PeerProtocol from "../peer/PeerProtocol.ts"
import * as PeerSession from "../peer/PeerSession.ts"
import type * as Upload from "../peer/Upload.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import type { TorrentLimits } from "../rate/RateLimits.ts"
import type { SupplierId } from "../supply/SupplierId.ts"
import { Dialer } from "../transport/Transport.ts"
import * as Choker from "./Choker.ts"
import * as Contacts from "./Contacts.ts"
import * as ExternalAddress from "./ExternalAddress.ts"
import * as Offers from "./Offers.ts"
import * as PeerBook from "./PeerBook.ts"
import * as UploadSlots from "./UploadSlots.ts"
import * as Usefulness from "./Usefulness.ts"

/** Connections of one torrent by default. More peers than this rarely make a assembly faster. */
export const defaultMaxConnections = 50

/** Connections of a torrent that are being opened at once: half-open ones are what home routers choke on. */
export const maxDialing = 10

/**
 * Milliseconds without a block of use after which a connected peer gives its place to an address that was tried less
 * than `maxFailuresForPlace` times in vain. Many peers of a busy swarm never unchoke anybody new.
 */
export const uselessAfter = 120_000
export const maxFailuresForPlace = 3

/**
 * Milliseconds in which two peers that dialled each other may find out that they have two connections. Of these the one
 * stays that was begun by the peer with the larger id: both sides must choose the same, or they would close both.
 */
export const crossingTime = 10_000

/** How long what was sent may take to arrive before a peer is let go that was given enough. */
export const partingTime = "3 seconds"

/** What ends a dial or a session. */
type MeetingError = Introduction.IntroductionError | PeerSession.SessionError

/** What a swarm has to tell. */
export type Fact =
  | { readonly _tag: "PeerConnected"; readonly address: PeerAddress.PeerAddress }
  | { readonly _tag: "PeerDisconnected"; readonly address: PeerAddress.PeerAddress; readonly why: string }
  /** An attempt came to nothing: no connection, or no handshake that fits. */
  | { readonly _tag: "PeerUnreachable"; readonly address: PeerAddress.PeerAddress; readonly why: string }
  | { readonly _tag: "PeerBanned"; readonly address: PeerAddress.PeerAddress; readonly why: string }

/** A running swarm. */
export interface Swarm {
  /** Goes on for as long as the swarm does, and dies where the swarm does of a bug of ours. */
  readonly running: Effect.Effect<void>
  /** Adds addresses; gives how many were new. */
  readonly add: (addresses: ReadonlyArray<PeerAddress.PeerAddress>) => Effect.Effect<number>
  /**
   * Answers a peer that asks for the torrent, and closes `scope`, its connection's, when its session has ended. It closes it
   * at once if there is no place, if the address is banned, or if nothing is wanted any more and the torrent does not seed.
   */
  readonly accept: (caller: Introduction.Caller, scope: Scope.Closeable) => Effect.Effect<void>
  /** Notes how somebody sees us, a peer or a tracker by its name: peers are dialled in the order of BEP 40. */
  readonly seenAs: (voter: string, host: string) => void
  /** Does not talk to this address until its ban ends. */
  readonly ban: (key: SupplierId, why: string) => void
  /** Notes that the peers sent right bytes. */
  readonly prove: (keys: Iterable<SupplierId>) => void
  /** `undefined` for a peer that came by itself, is long gone and was forgotten. */
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
  /** Gives nothing more, and lets all peers go when what is under way to them has had its time to arrive. */
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
  readonly upload: Upload.Upload
  readonly infoHash: InfoHash
  /** What peers are told beside the pieces (BEP 10). */
  readonly extensions: Pick<TorrentExtensions, "info" | "isPrivate" | "port">
  readonly peerId: PeerId
  readonly random: Prng.Prng
  readonly maxConnections?: number | undefined
  /** Whether it goes on looking for peers when everything that is wanted is stored, to give it to them; default no. */
  readonly seeds?: (() => boolean) | undefined
  /** How fast; absent: without limits. */
  readonly limits?: TorrentLimits | undefined
  /** Tells each peer of one piece at a time, where everything is stored from the start (BEP 16). */
  readonly superSeeds?: boolean | undefined
  /** The allowed fast set of the peer at a host (BEP 6); absent: nobody has one. */
  readonly allowedFast?: ((host: string) => Effect.Effect<ReadonlyArray<PieceIndex>>) | undefined
  /** Peers that may be given to at once; default `Choker.slotsFor` the upload limit. */
  readonly uploadSlots?: number | undefined
  /** The connections that all torrents of an engine may have. */
  readonly connections: ConnectionLimit.ConnectionLimit
  readonly report: (fact: Fact) => void
}

/** Starts a swarm without addresses, until the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { assembly, report } = options
  const maxConnections = options.maxConnections ?? defaultMaxConnections
  const dialer = yield* Dialer
  const external = ExternalAddress.make()
  const us = () => ({ ...external, port: options.extensions.port ?? 0 })
  const book = PeerBook.make(options.random, (address) => DialPriority.of(us(), address))
  /** Whether we are seen at another address than when the book was ranked. Anybody can tell us one, so a tick does it. */
  let isRankStale = false
  const fibers = yield* OwnedFibers.make<number>()
  const open = new Map<number, PeerSession.PeerSession>()
  const clock = yield* Clock.Clock
  const awake = yield* Latch.make(true)
  const share = ConnectionLimit.share()
  const offers =
    options.superSeeds === true && PieceTable.isComplete(assembly.table)
      ? Offers.make({ pieceCount: assembly.geometry.pieceCount, random: options.random })
      : undefined
  /** Dials and sessions that have begun and not ended; the fibers themselves end a little later. */
  let running = 0

  const isFinished = (): boolean => PieceTable.isFinished(assembly.table)

  const wantsPeers = (): boolean => !isFinished() || options.seeds?.() === true

  /** Whether nothing more is given, until something is wanted again. */
  let isParting = false
  const slots = UploadSlots.make({
    slots: () =>
      isParting
        ? 0
        : (options.uploadSlots ?? Choker.slotsFor(options.limits && RateLimiter.lowest(options.limits.upload))),
    peers: () => Array.from(open.values(), ({ protocol }) => protocol),
    isSeeding: isFinished,
    clock,
    random: options.random
  })

  const seenAs = (voter: string, host: string): void => {
    if (ExternalAddress.vote(external, voter, host)) isRankStale = true
  }

  /** Whether the connection was begun by the peer with the larger id. */
  const isBegunByLarger = ({ isIncoming, peerId }: PeerSession.PeerSession): boolean =>
    Bytes.toHex(peerId) > Bytes.toHex(options.peerId) === isIncoming

  /** Keeps one connection to each peer, by whatever address. */
  const admit = (peer: PeerBook.Peer, session: PeerSession.PeerSession): PeerSession.SessionError | undefined => {
    if (peer.state === "banned") return new PeerDropped({ why: "it is banned" })
    if (!wantsPeers()) return new PeerDropped({ why: "nothing more is wanted or given" })
    const connected = new PeerDropped({ why: "it is connected already" })
    for (const other of open.values()) {
      if (!Bytes.equals(other.peerId, session.peerId)) continue
      const hasCrossed =
        other.isIncoming !== session.isIncoming && Monotonic.nowUnsafe(clock) - other.protocol.openedAt < crossingTime
      if (!hasCrossed || !isBegunByLarger(session)) return connected
      other.failUnsafe(connected)
    }
    open.set(peer.key, session)
    PeerBook.connected(peer)
    // It is not being dialled any more, so another may be. Not at once, as the peer is being read.
    queueMicrotask(() => Latch.openUnsafe(awake))
    if (offers !== undefined) Offers.join(offers, session.protocol, Monotonic.nowUnsafe(clock))
    report({ _tag: "PeerConnected", address: peer.address })
    return undefined
  }

  const addUnsafe = (addresses: ReadonlyArray<PeerAddress.PeerAddress>): number => {
    const now = Monotonic.nowUnsafe(clock)
    let added = 0
    for (const address of addresses) {
      // One that came by itself is in the book by another address.
      if (!Contacts.isConnected(open.values(), address) && PeerBook.add(book, address, now) !== undefined) added++
    }
    return added
  }

  const extensions: TorrentExtensions = {
    ...options.extensions,
    isUploadOnly: isFinished,
    contacts: (remote) => Contacts.others(open.values(), remote),
    seenAs: ({ host }, ourHost) => seenAs(host, ourHost),
    found: (addresses) => {
      // Not at once, as the peer that tells is being read.
      if (addUnsafe(addresses) > 0) queueMicrotask(() => Latch.openUnsafe(awake))
    }
  }

  const ourselves: Introduction.Ourselves = {
    infoHash: options.infoHash,
    peerId: options.peerId,
    features: PeerSession.features
  }

  const converse = Effect.fnUntraced(function* (peer: PeerBook.Peer, introduced: Introduction.Introduced) {
    yield* PeerSession.run({
      introduced,
      assembly,
      upload: options.upload,
      limits: options.limits,
      offer: offers && Offers.offerOf(offers, peer.key, () => Monotonic.nowUnsafe(clock)),
      allowedFast: yield* options.allowedFast?.(introduced.connection.remote.host) ?? Effect.succeed([]),
      extensions,
      id: peer.key,
      onOpen: (session) => admit(peer, session),
      onInterest: slots.chooseSoon
    })
  })

  const session = Effect.fnUntraced(
    function* (peer: PeerBook.Peer) {
      // It may have waited long for its turn, and is not needed any more.
      if (peer.state !== "connecting" || !wantsPeers()) return yield* Effect.interrupt
      const connection = yield* Dial.connect(dialer, peer.address)
      yield* converse(peer, yield* Introduction.dialled(connection, ourselves))
    },
    Effect.scoped,
    ConnectionLimit.withConnection(options.connections, share)
  )

  const accept = Effect.fnUntraced(function* (caller: Introduction.Caller, scope: Scope.Closeable) {
    const close = Scope.close(scope, Exit.void)
    const place =
      !wantsPeers() || running >= maxConnections ? undefined : ConnectionLimit.takeNow(options.connections, share)
    if (place === undefined) return yield* close
    const peer = PeerBook.arrive(book, caller.connection.remote, Monotonic.nowUnsafe(clock))
    if (peer === undefined) {
      ConnectionLimit.giveBack(options.connections, place)
      return yield* close
    }
    running++
    const answered = Effect.flatMap(Introduction.answer(caller, ourselves), (introduced) => converse(peer, introduced))
    yield* OwnedFibers.run(fibers, peer.key, answered, (exit) =>
      Effect.suspend(() => {
        ConnectionLimit.giveBack(options.connections, place)
        return Effect.andThen(ended(peer, exit), close)
      })
    )
  }, Effect.uninterruptible)

  const ended = (peer: PeerBook.Peer, exit: Exit.Exit<void, MeetingError>): Effect.Effect<void> => {
    const session = open.get(peer.key)
    open.delete(peer.key)
    if (offers !== undefined) Offers.leave(offers, peer.key, Monotonic.nowUnsafe(clock))
    running--
    const error = Option.getOrUndefined(Exit.findErrorOption(exit))
    const isUseful =
      session !== undefined &&
      (session.protocol.usefulBytes > 0 || session.protocol.uploadedBytes > 0) &&
      error?._tag !== "WireError"
    if (session !== undefined && !session.protocol.uploads.isChoking) slots.chooseSoon()
    if (error?._tag === "SelfConnection") PeerBook.exclude(book, peer, Monotonic.nowUnsafe(clock))
    else PeerBook.disconnected(book, peer, Monotonic.nowUnsafe(clock), isUseful)
    if (session !== undefined && peer.state !== "banned") rememberWhereItListens(session, isUseful)
    if (session !== undefined && areBothDone(session.protocol)) PeerBook.leave(peer)
    const why = error?.why ?? wayOut(exit)
    if (session !== undefined) report({ _tag: "PeerDisconnected", address: peer.address, why })
    // An attempt that we gave up says nothing of the peer, and one of its own nothing of whether it can be reached.
    else if (peer.isDialable && !Exit.hasInterrupts(exit))
      report({ _tag: "PeerUnreachable", address: peer.address, why })
    Latch.openUnsafe(awake)
    return Exit.isFailure(exit) && Cause.hasDies(exit.cause)
      ? Effect.logError("a session with a peer ended by a defect", exit.cause)
      : Effect.void
  }

  /** A peer that came by itself can be dialled from now on, where it has said at which port. */
  const rememberWhereItListens = (session: PeerSession.PeerSession, isUseful: boolean): void => {
    const now = Monotonic.nowUnsafe(clock)
    const address = session.isIncoming ? Contacts.dialAddress(session) : undefined
    const peer = address && PeerBook.add(book, address, now)
    if (peer === undefined) return
    PeerBook.disconnected(book, peer, now, isUseful)
    if (areBothDone(session.protocol)) PeerBook.leave(peer)
  }

  const areBothDone = ({ has }: PeerProtocol.PeerProtocol): boolean => isFinished() && Bitfield.isFull(has)

  const letGoWhoIsDone = (): void => {
    for (const { failUnsafe, protocol } of [...open.values()]) {
      if (areBothDone(protocol)) failUnsafe(new PeerDropped({ why: "neither side wants anything more" }))
    }
  }

  const dialDue = Effect.gen(function* () {
    while (wantsPeers()) {
      const now = Monotonic.nowUnsafe(clock)
      if (running >= maxConnections || running - open.size >= maxDialing) return undefined
      const peer = PeerBook.nextToDial(book, now)
      if (peer === undefined) {
        const dialAt = PeerBook.nextDialAt(book)
        return dialAt === undefined ? undefined : dialAt - now
      }
      PeerBook.dialing(peer)
      running++
      yield* OwnedFibers.run(fibers, peer.key, session(peer), (exit) => ended(peer, exit))
    }
    return undefined
  })

  const dial = Effect.gen(function* () {
    while (true) {
      Latch.closeUnsafe(awake)
      const wait = yield* dialDue
      yield* wait === undefined
        ? awake.await
        : Effect.timeoutOrElse(awake.await, { duration: wait, orElse: () => Effect.void })
    }
  })

  const mostUseless = () => Usefulness.least(open.values(), isFinished())

  /**
   * Where all places are taken and somebody else waits for one, the peer that was of no use for longest goes. While
   * seeding those who would wait are not known, as most would come by themselves: then it goes unless it wants something.
   */
  const replaceMostUseless = (now: number): void => {
    // Nobody can be of use who is not asked.
    if (options.limits !== undefined && RateLimiter.isWaitedFor(options.limits.download)) return
    const worst = mostUseless()
    if (worst === undefined || now - Usefulness.lastOfUse(worst.protocol, isFinished()) < uselessAfter) return
    const next = PeerBook.nextToDial(book, now)
    const isWaitedFor = isFinished()
      ? !worst.protocol.peerInterested
      : next !== undefined && next.failures < maxFailuresForPlace
    if (!isWaitedFor) return
    worst.failUnsafe(new PeerDropped({ why: "it was of no use for 2 minutes, and others wait" }))
  }

  const tick = Effect.gen(function* () {
    const now = yield* Monotonic.now
    Assembly.tick(assembly, now)
    if (PeerBook.pardon(book, now)) Latch.openUnsafe(awake)
    if (isRankStale) PeerBook.rank(book)
    isRankStale = false
    let isFreed = false
    for (const session of [...open.values()]) {
      if (!tickSession(session, now)) continue
      isFreed = true
      yield* Assembly.abandon(assembly, session.protocol)
    }
    if (isFreed) Assembly.wakeIdle(assembly)
    else Requests.wakeOvertakers(assembly)
    if (offers !== undefined) Offers.step(offers, (key) => open.get(key)?.protocol, now)
    slots.choose(now)
    if (running >= maxConnections) replaceMostUseless(now)
    if (ConnectionLimit.shouldGive(options.connections, share)) {
      mostUseless()?.failUnsafe(new PeerDropped({ why: "another torrent needs its place" }))
    }
  })

  const loops = yield* Effect.forkScoped(
    Effect.all([dial, Effect.repeat(tick, Schedule.spaced("1 second"))], { concurrency: "unbounded", discard: true })
  )

  const self: Swarm = {
    running: Fiber.join(loops),
    accept,
    add: (addresses) =>
      Effect.sync(() => {
        const added = addUnsafe(addresses)
        if (added > 0) Latch.openUnsafe(awake)
        return added
      }),
    seenAs,
    ban: (key, why) => {
      const peer = book.peers.get(key)
      if (peer === undefined || !PeerBook.ban(book, peer, Monotonic.nowUnsafe(clock))) return
      report({ _tag: "PeerBanned", address: peer.address, why })
      for (const other of [...book.peers.values()]) {
        if (other.state !== "banned") continue
        const session = open.get(other.key)
        // Or a dial under way, or one that waits for its turn.
        if (session === undefined) OwnedFibers.interruptUnsafe(fibers, other.key)
        else session.failUnsafe(new PeerDropped({ why: "it is banned" }))
      }
    },
    prove: (keys) => {
      for (const key of keys) {
        const peer = book.peers.get(key)
        if (peer !== undefined) peer.isProven = true
      }
    },
    addressOf: (key) => book.peers.get(key)?.address,
    announce: (piece) => {
      for (const { protocol } of open.values()) PeerProtocol.announce(protocol, piece)
      letGoWhoIsDone()
    },
    retract: (pieces) => {
      for (const { failUnsafe, protocol } of [...open.values()]) {
        const isTaken = pieces.map((piece) => PeerProtocol.retract(protocol, piece))
        if (isTaken.includes(false)) failUnsafe(new PeerDropped({ why: "it cannot be told of pieces that are gone" }))
      }
    },
    reconsider: () => {
      if (!isFinished()) {
        isParting = false
        PeerBook.recall(book)
      }
      for (const { protocol } of open.values()) {
        PeerProtocol.updateInterest(protocol)
        protocol.wake()
      }
      letGoWhoIsDone()
      Latch.openUnsafe(awake)
    },
    dismiss: Effect.fnUntraced(function* (why) {
      isParting = true
      slots.choose(yield* Monotonic.now)
      yield* Effect.sleep(partingTime)
      if (wantsPeers()) return
      for (const { failUnsafe } of [...open.values()]) failUnsafe(new PeerDropped({ why }))
    }),
    counts: () => {
      let unchoked = 0
      for (const { protocol } of open.values()) if (!protocol.uploads.isChoking) unchoked++
      return { connected: open.size, unchoked, known: book.peers.size, banned: PeerBook.bannedCount(book) }
    },
    prospects: () => {
      let interesting = 0
      let unchoking = 0
      for (const { protocol } of open.values()) {
        if (!protocol.amInterested) continue
        interesting++
        if (!protocol.peerChoking) unchoking++
      }
      return { interesting, unchoking }
    }
  }
  return self
})

/** Does what is due for a session; `true` where blocks became free. */
const tickSession = ({ failUnsafe, protocol }: PeerSession.PeerSession, now: number): boolean => {
  try {
    return PeerProtocol.tick(protocol, now)
  } catch (error) {
    if (!(error instanceof PeerDropped)) throw error
    failUnsafe(error)
    return false
  }
}

/** What there is to say of a session that ended without an error of its own. */
const wayOut = (exit: Exit.Exit<void, MeetingError>): string => {
  if (Exit.isSuccess(exit)) return "it closed the connection"
  return Cause.hasDies(exit.cause) ? "of an internal error" : "it was given up"
}
