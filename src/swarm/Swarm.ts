/**
 * The peers of one torrent: dials known addresses within limits, runs a session for each, tries again with patience, and
 * bans who sent wrong bytes. One ticker serves the timers of all sessions.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberMap from "effect/FiberMap"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type * as PeerAddress from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PeerProtocol from "../peer/PeerProtocol.ts"
import { PeerDropped } from "../peer/PeerProtocol.ts"
import * as PeerSession from "../peer/PeerSession.ts"
import * as Download from "../piece/Download.ts"
import * as PieceTable from "../piece/PieceTable.ts"
import { ConnectionError, Dialer } from "../transport/Transport.ts"
import * as ConnectionLimit from "./ConnectionLimit.ts"
import * as PeerBook from "./PeerBook.ts"

/** Connections of one torrent by default. More peers than this rarely make a download faster. */
export const defaultMaxConnections = 50

/** Connections of a torrent that are being opened at once: half-open ones are what home routers choke on. */
export const maxDialing = 10

/** How long a connection may take to open. */
export const connectTimeout = "10 seconds"

/**
 * Milliseconds without a block of use after which a connected peer gives its place to an address that was tried less
 * than `maxFailuresForPlace` times in vain. Many peers of a busy swarm never unchoke anybody new.
 */
export const uselessAfter = 120_000
export const maxFailuresForPlace = 3

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
  /** Never talks to this address again. */
  readonly ban: (key: number, why: string) => void
  /** Notes that the peers sent right bytes. */
  readonly prove: (keys: Iterable<number>) => void
  readonly addressOf: (key: number) => PeerAddress.PeerAddress
  /** Tells every peer of a piece that is stored now, and lets those go that can give and take nothing more. */
  readonly announce: (piece: PieceIndex) => void
  readonly counts: () => { readonly connected: number; readonly known: number; readonly banned: number }
}

/** What a swarm is made of. */
export interface Options {
  readonly download: Download.Download
  readonly infoHash: InfoHash
  readonly peerId: PeerId
  readonly random: () => number
  readonly maxConnections?: number | undefined
  /** The connections that all torrents of an engine may have. */
  readonly connections: ConnectionLimit.ConnectionLimit
  readonly report: (fact: Fact) => void
}

/** Starts a swarm without addresses, until the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { download, report } = options
  const maxConnections = options.maxConnections ?? defaultMaxConnections
  const dialer = yield* Dialer
  const book = PeerBook.make(options.random)
  const fibers = yield* FiberMap.make<number, void>()
  const open = new Map<number, PeerSession.PeerSession>()
  const clock = yield* Clock.Clock
  const awake = yield* Latch.make(true)
  const share = ConnectionLimit.share()
  /** Dials and sessions that have begun and not ended; the fibers themselves end a little later. */
  let running = 0

  /** Refuses a second connection to the same peer, by another address of it. */
  const admit = (peer: PeerBook.Peer, session: PeerSession.PeerSession): PeerSession.SessionError | undefined => {
    if (peer.state === "banned") return new PeerDropped({ why: "it is banned" })
    for (const other of open.values()) {
      if (Bytes.equals(other.peerId, session.peerId)) return new PeerDropped({ why: "it is connected already" })
    }
    open.set(peer.key, session)
    PeerBook.connected(peer)
    report({ _tag: "PeerConnected", address: peer.address })
    return undefined
  }

  const connect = (peer: PeerBook.Peer) =>
    dialer.connect(peer.address).pipe(
      Effect.timeoutOrElse({
        duration: connectTimeout,
        orElse: () => Effect.fail(new ConnectionError({ address: peer.address, why: "timed out" }))
      })
    )

  const session = Effect.fnUntraced(
    function* (peer: PeerBook.Peer) {
      // It may have waited long for its turn, and is not needed any more.
      if (peer.state !== "connecting" || PieceTable.isComplete(download.table)) return yield* Effect.interrupt
      const connection = yield* connect(peer)
      yield* PeerSession.run({
        connection,
        download,
        key: peer.key,
        infoHash: options.infoHash,
        peerId: options.peerId,
        onOpen: (session) => admit(peer, session)
      })
    },
    Effect.scoped,
    (effect, peer) =>
      effect.pipe(
        ConnectionLimit.withConnection(options.connections, share),
        Effect.onExit((exit) => ended(peer, exit)),
        Effect.ignore
      )
  )

  const ended = (peer: PeerBook.Peer, exit: Exit.Exit<void, PeerSession.SessionError>): Effect.Effect<void> => {
    const session = open.get(peer.key)
    open.delete(peer.key)
    running--
    const error = Option.getOrUndefined(Exit.findErrorOption(exit))
    const isUseful = session !== undefined && session.protocol.usefulBytes > 0 && error?._tag !== "WireError"
    if (error?._tag === "SelfConnection") PeerBook.exclude(peer)
    else PeerBook.disconnected(book, peer, clock.currentTimeMillisUnsafe(), isUseful)
    const why = error?.why ?? wayOut(exit)
    if (session !== undefined) report({ _tag: "PeerDisconnected", address: peer.address, why })
    // An attempt that we gave up says nothing of the peer.
    else if (!Exit.hasInterrupts(exit)) report({ _tag: "PeerUnreachable", address: peer.address, why })
    Latch.openUnsafe(awake)
    return Exit.isFailure(exit) && Cause.hasDies(exit.cause)
      ? Effect.logError("a session with a peer ended by a defect", exit.cause)
      : Effect.void
  }

  const dialDue = Effect.gen(function* () {
    while (!PieceTable.isComplete(download.table)) {
      const now = clock.currentTimeMillisUnsafe()
      if (running >= maxConnections || running - open.size >= maxDialing) return undefined
      const peer = PeerBook.nextToDial(book, now)
      if (peer === undefined) {
        const dialAt = PeerBook.nextDialAt(book)
        return dialAt === undefined ? undefined : dialAt - now
      }
      PeerBook.dialing(peer)
      running++
      yield* FiberMap.run(fibers, peer.key, session(peer))
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

  const mostUseless = (): PeerSession.PeerSession | undefined => {
    let worst: PeerSession.PeerSession | undefined
    for (const session of open.values()) {
      if (worst === undefined || session.protocol.lastUseful < worst.protocol.lastUseful) worst = session
    }
    return worst
  }

  /** Where all places are taken and somebody else waits for one, the peer that was of no use for longest goes. */
  const replaceMostUseless = (now: number): void => {
    const next = PeerBook.nextToDial(book, now)
    if (next === undefined || next.failures >= maxFailuresForPlace || PieceTable.isComplete(download.table)) return
    const worst = mostUseless()
    if (worst === undefined || now - worst.protocol.lastUseful < uselessAfter) return
    worst.failUnsafe(new PeerDropped({ why: "it was of no use for 2 minutes, and others wait" }))
  }

  const tick = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    Download.releaseDelayed(download, now)
    let isFreed = false
    for (const session of [...open.values()]) {
      if (!tickSession(session, now)) continue
      isFreed = true
      yield* Download.abandon(download, session.protocol)
    }
    if (isFreed) Download.feed(download)
    if (running >= maxConnections) replaceMostUseless(now)
    if (ConnectionLimit.shouldGive(options.connections, share)) {
      mostUseless()?.failUnsafe(new PeerDropped({ why: "another torrent needs its place" }))
    }
  })

  /** Ends a dial under way, or one that waits for its turn. */
  const giveUp = (key: number): void => {
    const fiber = FiberMap.getUnsafe(fibers, key)
    if (fiber._tag === "Some") fiber.value.interruptUnsafe()
  }

  const loops = yield* Effect.forkScoped(
    Effect.all([dial, Effect.repeat(tick, Schedule.spaced("1 second"))], { concurrency: "unbounded", discard: true })
  )

  const self: Swarm = {
    running: Fiber.join(loops),
    add: (addresses) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        let added = 0
        for (const address of addresses) if (PeerBook.add(book, address, now) !== undefined) added++
        if (added > 0) Latch.openUnsafe(awake)
        return added
      }),
    ban: (key, why) => {
      const peer = book.peers.get(key)!
      if (!PeerBook.ban(book, peer)) return
      report({ _tag: "PeerBanned", address: peer.address, why })
      for (const other of [...book.peers.values()]) {
        if (other.state !== "banned") continue
        const session = open.get(other.key)
        if (session === undefined) giveUp(other.key)
        else session.failUnsafe(new PeerDropped({ why: "it is banned" }))
      }
    },
    prove: (keys) => {
      for (const key of keys) book.peers.get(key)!.isProven = true
    },
    addressOf: (key) => book.peers.get(key)!.address,
    announce: (piece) => {
      const isComplete = PieceTable.isComplete(download.table)
      for (const { failUnsafe, protocol } of [...open.values()]) {
        PeerProtocol.announce(protocol, piece)
        if (isComplete && Bitfield.isFull(protocol.has))
          failUnsafe(new PeerDropped({ why: "both sides have everything" }))
      }
    },
    counts: () => ({ connected: open.size, known: book.peers.size, banned: PeerBook.bannedCount(book) })
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
const wayOut = (exit: Exit.Exit<void, PeerSession.SessionError>): string => {
  if (Exit.isSuccess(exit)) return "it closed the connection"
  return Cause.hasDies(exit.cause) ? "of an internal error" : "it was given up"
}
