/**
 * A peer whose behaviour is a value: it speaks the wire protocol over any `Connection`, so the same peer serves
 * properties, simulations under a test clock, other people's tests, and a seeder on a real port.
 *
 * It uploads only. It does not judge the other side but counts what it does, for tests to read. `PeerBehaviour.ts`
 * lists what it can do wrong, `ScriptedSession.ts` makes its messages; this file decides when it sends them. An honest
 * peer is strict about its own side of BEP 3 and BEP 6.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Connection, ConnectionError } from "../network/Transport.ts"
import { Dialer, Listener } from "../network/Transport.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import * as ScriptedAnswer from "./ScriptedAnswer.ts"
import * as ScriptedSession from "./ScriptedSession.ts"

export type { Options as SessionOptions } from "./ScriptedSession.ts"

/** What a scripted peer is made of. */
export type Options = ScriptedSession.Options

export type { Counters } from "./ScriptedSession.ts"

/** A peer that any number of connections may talk to. */
export interface ScriptedPeer {
  readonly options: Options
  /** Over all its connections; they change as the peer runs. */
  readonly counters: ScriptedSession.Counters
}

/** A peer without connections yet. */
export const make = (options: Options): ScriptedPeer => ({ options, counters: ScriptedSession.makeCounters() })

/** A peer that accepts connections. */
export interface Serving extends ScriptedPeer {
  readonly address: PeerAddress
}

/** Listens and talks to every peer that connects, until the scope closes. Default: any free port of `127.0.0.1`. */
export const serve = Effect.fnUntraced(function* (
  options: Options & { readonly listen?: { readonly host: string; readonly port: number } | undefined }
): Effect.fn.Return<Serving, ConnectionError, Listener | Scope.Scope> {
  const self = make(options)
  const owner = yield* Effect.scope
  const listener = yield* Listener
  const listening = yield* listener.listen(options.listen ?? { host: "127.0.0.1", port: 0 })
  yield* Effect.gen(function* () {
    const scope = yield* Scope.fork(owner)
    const connection = yield* Scope.provide(listening.accept, scope)
    yield* talk(self, connection, "accepts").pipe(
      Effect.onExit((exit) => Scope.close(scope, exit)),
      Effect.forkIn(owner)
    )
  }).pipe(Effect.forever, Effect.forkIn(owner))
  return { ...self, address: listening.address }
})

/** Dials `address` and talks, until the conversation ends or the fiber is interrupted. */
export const connect = (self: ScriptedPeer, address: PeerAddress): Effect.Effect<void, ConnectionError, Dialer> =>
  Dialer.use((dialer) => dialer.connect(address)).pipe(
    Effect.flatMap((connection) => talk(self, connection, "connects")),
    Effect.scoped
  )

/**
 * Talks on `connection` until the behaviour ends it, the other side closes, or the fiber is interrupted. The connection
 * is closed by its scope. The side that connected sends its handshake first (BEP 3).
 */
export const talk = Effect.fnUntraced(function* (
  { counters, options }: ScriptedPeer,
  connection: Connection,
  role: "accepts" | "connects"
): Effect.fn.Return<void> {
  const clock = yield* Clock.Clock
  const news = Latch.makeUnsafe(false)
  const session = ScriptedSession.make(options, counters, {
    number: counters.connections,
    nowUnsafe: () => Monotonic.nowUnsafe(clock),
    onNews: () => news.openUnsafe()
  })
  counters.connections++
  counters.openConnections++
  connection.receiveUnsafe(ScriptedSession.sink(session))
  const conversation = Effect.scoped(converse({ session, connection, news }, role))
  yield* Effect.raceFirst(conversation, Effect.ignore(connection.closed)).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        session.ended = true
        counters.openConnections--
      })
    )
  )
})

/** A session and the means to wait in it. */
interface Talk {
  readonly session: ScriptedSession.Session
  readonly connection: Connection
  /** Opens when there may be something to do; only `until` waits for it. */
  readonly news: Latch.Latch
}

/** How long a connection is kept after its last block, because closing it may drop what has not left. */
const linger = Duration.millis(100)

const converse = Effect.fnUntraced(function* (self: Talk, role: "accepts" | "connects") {
  const { session } = self
  const { announces, chokesEvery, floods, silent, unchokes } = session.behaviour
  if (silent === "from the start") return yield* Effect.never
  if (role === "connects") yield* sendHandshake(self)
  yield* until(self, () => session.handshake !== undefined)
  if (session.ended) return
  if (role === "accepts") yield* sendHandshake(self)
  if (silent === "after the handshake") return yield* Effect.never

  ScriptedSession.announce(session)
  ScriptedSession.offerMetadata(session)
  ScriptedSession.flood(session, floods ?? 0)
  yield* flush(self)
  if (typeof announces === "object") yield* Effect.forkScoped(gain(self, announces.every))

  if (unchokes !== "at once") yield* until(self, () => session.interested && unchokes !== "never")
  if (session.ended) return
  ScriptedSession.unchoke(session)
  yield* flush(self)
  if (chokesEvery !== undefined) yield* Effect.forkScoped(alternate(self, chokesEvery))
  yield* answer(self)
  yield* flush(self)
})

/** Sends what is ready to send until `isDone`, or the conversation has ended. */
const until = Effect.fnUntraced(function* (self: Talk, isDone: () => boolean) {
  const { news, session } = self
  while (!session.ended && !isDone()) {
    news.closeUnsafe()
    yield* FrameEncoder.isEmpty(session.out) || session.handshake === undefined ? news.await : flush(self)
    // A latch wakes its waiter within the call that opens it, here in the middle of a chunk, at its first request. The
    // rest of the chunk is read first: its requests make one batch, and reading is never resumed before the sink
    // returned `false`.
    yield* Effect.yieldNow
  }
})

const flush = ({ connection, session: { out } }: Talk): Effect.Effect<void> => {
  if (FrameEncoder.isEmpty(out)) return Effect.void
  return connection.writeUnsafe(FrameEncoder.take(out)) ? Effect.void : connection.drained
}

const sendHandshake = Effect.fnUntraced(function* ({ connection, session }: Talk) {
  const bytes = ScriptedSession.handshake(session)
  const { trickle } = session.behaviour
  if (trickle === undefined) {
    connection.writeUnsafe(bytes)
    return
  }
  for (let at = 0; at < bytes.length; at++) {
    yield* Effect.sleep(trickle)
    connection.writeUnsafe(bytes.slice(at, at + 1))
  }
})

/** Gains one piece after the other. */
const gain = Effect.fnUntraced(function* (self: Talk, every: Duration.Input) {
  for (const piece of Bitfield.indices(ScriptedSession.piecesOf(self.session.options))) {
    yield* Effect.sleep(every)
    ScriptedSession.gain(self.session, piece)
    yield* flush(self)
  }
})

/** Chokes and unchokes in turn. */
const alternate = Effect.fnUntraced(function* (self: Talk, every: Duration.Input) {
  while (true) {
    yield* Effect.sleep(every)
    ScriptedSession.choke(self.session)
    yield* flush(self)
    yield* Effect.sleep(every)
    ScriptedSession.unchoke(self.session)
    yield* flush(self)
  }
})

/** Answers requests in their order until the behaviour has had enough. */
const answer = Effect.fnUntraced(function* (self: Talk) {
  const { connection, session } = self
  const { behaviour, out, queue } = session
  const { bytesPerSecond, stopsAfter } = behaviour
  const delay = Duration.toMillis(behaviour.delay ?? 0)
  const millisPerByte = bytesPerSecond === undefined ? 0 : 1_000 / bytesPerSecond
  // When the previous block has left, in milliseconds.
  let left = 0
  while (!session.ended) {
    if (stopsAfter !== undefined && session.answered >= stopsAfter.blocks) {
      yield* flush(self)
      return yield* stopsAfter.how === "stall" ? until(self, () => false) : Effect.sleep(linger)
    }
    const next = queue[0]
    if (next === undefined) {
      yield* until(self, () => queue.length > 0)
      continue
    }
    const due = Math.max(next.arrived + delay, Math.max(next.arrived, left) + next.length * millisPerByte)
    const wait = due - session.nowUnsafe()
    if (wait > 0) {
      yield* flush(self)
      // In whole milliseconds, as timers are. A choke or a cancel may remove the request meanwhile, so look again.
      yield* Effect.sleep(Math.ceil(wait))
      continue
    }
    queue.shift()
    left = due
    ScriptedAnswer.append(session, next)
    if (session.paused && queue.length <= ScriptedSession.queueLimit / 2) {
      session.paused = false
      connection.resumeUnsafe()
    }
    if (out.length >= ScriptedAnswer.batchBytes) yield* flush(self)
  }
})
