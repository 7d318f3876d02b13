/**
 * Announces to one UDP tracker (BEP 15) and scrapes it, over the sockets of the `UdpHub` in the context.
 *
 * A tracker first assigns a connection id, which proves that we receive what is sent to our address. One id serves all
 * torrents for a minute, and requests that need an id while one is being fetched share its answer. Requests without an
 * answer are sent again.
 *
 * Anybody can send us datagrams. One is accepted only if it comes from an address that was asked, repeats the request's
 * random transaction id, and is of the expected kind. All others, errors included, are ignored. `UdpTrackerCodec.ts`
 * knows the packet layout.
 *
 * A tracker that has addresses of both families is asked over IPv4, and over IPv6 only while IPv4 is silent. So a
 * machine with both is known by its IPv4 address only, and receives only IPv4 peers: BEP 7 and BEP 15 leave it to the
 * client whether it announces both.
 */
import type * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as CompactPeers from "../../../base/CompactPeers.ts"
import * as Destination from "../../../base/Destination.ts"
import * as Environment from "../../../base/Environment.ts"
import * as Monotonic from "../../../base/Monotonic.ts"
import * as PeerAddress from "../../../base/PeerAddress.ts"
import type { ConnectionError, DatagramSink } from "../../../network/Transport.ts"
import type { HubSocket } from "../../../network/UdpHub.ts"
import { UdpHub } from "../../../network/UdpHub.ts"
import type { AnnounceRequest } from "../Tracker.ts"
import { Tracker, TrackerError } from "../Tracker.ts"
import { TrackerRefused } from "../TrackerAnswer.ts"
import * as UdpTrackerCodec from "../UdpTrackerCodec.ts"

/**
 * How long an announce or a scrape may take, from resolving the name to the answer. BEP 15 would retry for two hours;
 * two tries of `firstWait` make up for a lost datagram. The torrent's next tracker is asked long before.
 */
export const defaultTimeout: Duration.Input = "30 seconds"

/** How long to wait for an answer to the first try. Each further try doubles the wait (BEP 15). */
export const firstWait: Duration.Input = "15 seconds"

/** How often the wait doubles at most (BEP 15): the longest wait is 3,840 s. */
export const maxDoublings = 8

/**
 * How long we use a connection id (BEP 15). The tracker accepts it for twice as long, so that none arrives too late.
 */
export const connectionIdLifetime: Duration.Input = "60 seconds"

/** How long IPv4 may be silent before IPv6 is tried too. Most trackers answer sooner, and most peers are on IPv4. */
export const familyPatience: Duration.Input = "1 second"

/** Most bytes of path and query that are sent (BEP 41). A longer packet might be fragmented on its way, and lost. */
export const maxUrlDataLength = 1000

/** Resolves a name to addresses, all with the port of `address`, best first. */
export type Lookup = (
  address: PeerAddress.PeerAddress
) => Effect.Effect<ReadonlyArray<PeerAddress.PeerAddress>, ConnectionError>

/** How UDP trackers are asked. */
export interface UdpTrackerOptions {
  /** Resolves names. */
  readonly lookup: Lookup
  /** Returns why nothing may be sent to an address that a URL names; default: something may be sent to any. */
  readonly whyNot?: ((host: string) => string | undefined) | undefined
  /** How long one announce or scrape may take; default `defaultTimeout`. */
  readonly timeout?: Duration.Input | undefined
}

/** A request that waits for its answer. */
interface Transaction {
  readonly id: number
  readonly expects: UdpTrackerCodec.Answer["_tag"]
  /** The addresses that it was sent to (`PeerAddress.format`). */
  readonly asked: Set<string>
  readonly answer: Deferred.Deferred<UdpTrackerCodec.Answer>
  /** The host that the answer came from, once there is one. */
  from: string | undefined
}

/** A request for a connection id in progress. */
interface Connecting {
  readonly transaction: Transaction
  /** How many requests wait for it. The last one to leave cancels it. */
  waiting: number
  /** Not sent again before this time in milliseconds. */
  resendAt: number
}

/** The state that all requests of one `make` share. Touched only synchronously, between two `yield*`. */
interface Client {
  readonly random: () => number
  readonly hub: UdpHub["Service"]
  readonly transactions: Map<number, Transaction>
  /** By address; so are the next two. */
  readonly connecting: Map<string, Connecting>
  readonly connections: Map<string, { readonly id: Uint8Array; readonly expiresAt: number }>
}

const firstWaitMillis = Duration.toMillis(firstWait)

/** Makes a `Tracker` for UDP URLs. It closes its socket with the scope. */
export const make = Effect.fnUntraced(function* (
  options: UdpTrackerOptions
): Effect.fn.Return<Tracker["Service"], never, UdpHub | Scope.Scope> {
  const hub = yield* UdpHub
  const random = yield* Random.Random
  const transactions = new Map<number, Transaction>()
  const client: Client = {
    random: () => random.nextDoubleUnsafe(),
    hub,
    transactions,
    connecting: new Map(),
    connections: new Map()
  }
  yield* hub.claim("tracker", receive(transactions))
  const timeout = options.timeout ?? defaultTimeout
  const bounded = <A>(
    effect: Effect.Effect<A, TrackerError | TrackerRefused | ConnectionError, Scope.Scope>,
    url: string
  ) =>
    effect.pipe(
      Effect.scoped,
      Effect.catchTags({
        "piecewise/ConnectionError": ({ why }) => Effect.fail(new TrackerError({ url, why })),
        TrackerRefused: ({ why }) => Effect.fail(new TrackerError({ url, why }))
      }),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(new TrackerError({ url, why: "no answer in time" }))
      })
    )
  return Tracker.of({
    // No spans: they would show the error, and with it the URL, which may have a passkey. `AnnounceSpan.ts` hides it.
    announce: Effect.fnUntraced(function* (url: string, request: AnnounceRequest) {
      const target = yield* Effect.fromResult(checkUrl(url))
      const { answer, from } = yield* askAny(client, yield* resolve(target, options), "Announced", (ids) =>
        UdpTrackerCodec.encodeAnnounce({ ...ids, request, urlData: target.urlData })
      )
      return { ...answer.response, from }
    }, bounded),
    scrape: Effect.fnUntraced(function* (url: string, infoHash: Uint8Array) {
      const target = yield* Effect.fromResult(checkUrl(url))
      const { answer } = yield* askAny(client, yield* resolve(target, options), "Scraped", (ids) =>
        UdpTrackerCodec.encodeScrape({ ...ids, infoHash })
      )
      return answer.response
    }, bounded)
  })
})

/** Provides a `Tracker` over the `UdpHub` in the context. */
export const layer = (options: UdpTrackerOptions): Layer.Layer<Tracker, never, UdpHub> =>
  Layer.effect(Tracker, make(options))

/**
 * The same with the timeout in `PIECEWISE_TRACKER_TIMEOUT`, such as `15 seconds` (docs/configuration.md). Fails with
 * `ConfigError` if it is none.
 */
export const layerConfig = (
  lookup: Lookup,
  timeout: Config.Config<Duration.Input | undefined> = Environment.trackerTimeout()
): Layer.Layer<Tracker, Config.ConfigError, UdpHub> =>
  Layer.effect(
    Tracker,
    Effect.flatMap(timeout, (timeout) => make({ lookup, timeout }))
  )

interface Target {
  readonly url: URL
  readonly address: PeerAddress.PeerAddress
  readonly urlData: string
}

/** Parses the URL of a UDP tracker. Fails with `retryAfter: "never"` if the URL can never work. */
const checkUrl = (url: string): Result.Result<Target, TrackerError> => {
  const refuse = (why: string) => Result.fail(new TrackerError({ url, why, retryAfter: "never" }))
  const target = URL.parse(url)
  if (target === null) return refuse("this is not a URL")
  if (target.protocol !== "udp:") return refuse("this is not a UDP URL")
  if (target.port === "") return refuse("its URL has no port")
  const address = PeerAddress.make(Destination.hostOf(target), Number(target.port))
  if (address === undefined || !PeerAddress.isDialable(address))
    return refuse("its URL does not contain a usable address")
  const why = Destination.whyNotTracker(target, address.host)
  if (why !== undefined) return refuse(why)
  const urlData = `${target.pathname}${target.search}`
  if (urlData.length > maxUrlDataLength) return refuse("its URL is too long for a datagram")
  return Result.succeed({ url: target, address, urlData: urlData === "/" ? "" : urlData })
}

/**
 * The addresses of a tracker, at least one. Never a name: whoever sends the datagrams would resolve it again,
 * unchecked.
 */
const resolve = Effect.fnUntraced(function* ({ address, url }: Target, { lookup, whyNot }: UdpTrackerOptions) {
  if (PeerAddress.ipBytes(address) !== undefined) {
    const why = whyNot?.(address.host)
    return why === undefined ? [address] : yield* new TrackerRefused({ why })
  }
  const found = (yield* lookup(address)).filter((entry) => PeerAddress.ipBytes(entry) !== undefined)
  if (found.length === 0) return yield* new TrackerRefused({ why: "its name has no address" })
  const whys = found.map(({ host }) => Destination.whyNotTracker(url, host))
  const allowed = found.filter((_, index) => whys[index] === undefined)
  if (allowed.length === 0) return yield* new TrackerRefused({ why: whys[0]! })
  return allowed
})

const familyOf = ({ host }: PeerAddress.PeerAddress): CompactPeers.Family => (host.includes(":") ? "ipv6" : "ipv4")

const receive =
  (transactions: ReadonlyMap<number, Transaction>): DatagramSink =>
  (payload, from) => {
    const answer = UdpTrackerCodec.decode(payload, familyOf(from))
    if (answer === undefined) return
    const transaction = transactions.get(answer.transactionId)
    if (transaction === undefined || !transaction.asked.has(PeerAddress.format(from))) return
    if (answer._tag !== transaction.expects && answer._tag !== "Failed") return
    transaction.from ??= from.host
    Deferred.doneUnsafe(transaction.answer, Exit.succeed(answer))
  }

const begin = (client: Client, expects: Transaction["expects"]): Transaction => {
  let id: number
  do id = Math.floor(client.random() * 0x1_0000_0000)
  while (client.transactions.has(id))
  const transaction: Transaction = { id, expects, asked: new Set(), answer: Deferred.makeUnsafe(), from: undefined }
  client.transactions.set(id, transaction)
  return transaction
}

const send = (socket: HubSocket, transaction: Transaction, payload: Uint8Array, to: PeerAddress.PeerAddress): void => {
  transaction.asked.add(PeerAddress.format(to))
  socket.sendUnsafe(payload, to)
}

type AnswerOf<Tag extends UdpTrackerCodec.Answer["_tag"]> = Extract<UdpTrackerCodec.Answer, { readonly _tag: Tag }>

/** Waits for the answer. Fails if the tracker refused. */
const answerTo = <Tag extends UdpTrackerCodec.Answer["_tag"]>(transaction: Transaction, _: Tag) =>
  Effect.flatMap(
    Deferred.await(transaction.answer),
    (answer): Effect.Effect<AnswerOf<Tag>, TrackerRefused> =>
      answer._tag === "Failed"
        ? Effect.fail(new TrackerRefused({ why: answer.why }))
        : // `receive` accepts no other kind.
          Effect.succeed(answer as AnswerOf<Tag>)
  )

/** An answer, and the host that it came from. */
interface Answered<Tag extends UdpTrackerCodec.Answer["_tag"]> {
  readonly answer: AnswerOf<Tag>
  readonly from: string | undefined
}

type Encode = (ids: { readonly connectionId: Uint8Array; readonly transactionId: number }) => Uint8Array

/** Asks over IPv4 if the tracker has such addresses, and over IPv6 if it has none or they stay silent. */
const askAny = <Tag extends "Announced" | "Scraped">(
  client: Client,
  addresses: ReadonlyArray<PeerAddress.PeerAddress>,
  expects: Tag,
  encode: Encode
) => {
  const ipv4 = addresses.filter((address) => familyOf(address) === "ipv4")
  const ipv6 = addresses.filter((address) => familyOf(address) === "ipv6")
  if (ipv4.length === 0 || ipv6.length === 0) return ask(client, addresses, expects, encode)
  // A machine without one family still has the other. Without both, the error of IPv4 is reported.
  const overIpv4 = Effect.catchTag(ask(client, ipv4, expects, encode), "piecewise/ConnectionError", (error) =>
    Effect.catchTag(ask(client, ipv6, expects, encode), "piecewise/ConnectionError", () => Effect.fail(error))
  )
  const overIpv6 = Effect.catchTag(
    Effect.delay(ask(client, ipv6, expects, encode), familyPatience),
    "piecewise/ConnectionError",
    () => Effect.never
  )
  return Effect.raceFirst(overIpv4, overIpv6)
}

/**
 * Sends what `encode` returns, repeatedly, until an answer arrives. Each try goes to the next address, because one of
 * them may be out of order. All addresses are of one family.
 */
const ask = Effect.fnUntraced(function* <Tag extends "Announced" | "Scraped">(
  client: Client,
  addresses: ReadonlyArray<PeerAddress.PeerAddress>,
  expects: Tag,
  encode: Encode
): Effect.fn.Return<Answered<Tag>, TrackerRefused | ConnectionError, Scope.Scope> {
  const socket = yield* client.hub.socket(familyOf(addresses[0]!))
  const transaction = yield* Effect.acquireRelease(
    Effect.sync(() => begin(client, expects)),
    ({ id }) => Effect.sync(() => client.transactions.delete(id))
  )
  const asking = Effect.gen(function* () {
    for (let tries = 0; ; tries++) {
      const address = addresses[tries % addresses.length]!
      const wait = firstWaitMillis * 2 ** Math.min(tries, maxDoublings)
      const connectionId = yield* Effect.timeoutOption(connect(client, socket, address), wait)
      if (Option.isNone(connectionId)) continue
      const ids = { connectionId: connectionId.value, transactionId: transaction.id }
      send(socket, transaction, encode(ids), address)
      const answer = yield* answerTo(transaction, expects).pipe(
        // The tracker may have forgotten the connection id, for example after a restart.
        Effect.tapError(() => Effect.sync(() => client.connections.delete(PeerAddress.format(address)))),
        Effect.timeoutOption(wait)
      )
      if (Option.isSome(answer)) return { answer: answer.value, from: transaction.from }
    }
  })
  return yield* Effect.raceFirst(asking, Effect.andThen(socket.closed, Effect.never))
})

/** Returns a connection id of the tracker at `address`: the current one, or a new one. */
const connect = Effect.fnUntraced(function* (client: Client, socket: HubSocket, address: PeerAddress.PeerAddress) {
  const key = PeerAddress.format(address)
  const now = yield* Monotonic.now
  const known = client.connections.get(key)
  if (known !== undefined && now < known.expiresAt) return known.id
  return yield* Effect.acquireUseRelease(
    Effect.sync(() => {
      let attempt = client.connecting.get(key)
      if (attempt === undefined) {
        attempt = { transaction: begin(client, "Connected"), waiting: 0, resendAt: now }
        client.connecting.set(key, attempt)
      }
      attempt.waiting++
      return attempt
    }),
    Effect.fnUntraced(function* (attempt) {
      if (now >= attempt.resendAt) {
        attempt.resendAt = now + firstWaitMillis
        send(socket, attempt.transaction, UdpTrackerCodec.encodeConnect(attempt.transaction.id), address)
      }
      const { connectionId } = yield* answerTo(attempt.transaction, "Connected")
      remember(client, key, connectionId, yield* Monotonic.now)
      return connectionId
    }),
    (attempt) =>
      Effect.sync(() => {
        if (--attempt.waiting > 0) return
        client.connecting.delete(key)
        client.transactions.delete(attempt.transaction.id)
      })
  )
})

const remember = (client: Client, key: string, id: Uint8Array, now: number): void => {
  for (const [other, { expiresAt }] of client.connections) if (expiresAt <= now) client.connections.delete(other)
  client.connections.set(key, { id, expiresAt: now + Duration.toMillis(connectionIdLifetime) })
}
