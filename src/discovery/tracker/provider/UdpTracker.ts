/**
 * Announces to one UDP tracker (BEP 15) and scrapes it, over the sockets of the `UdpHub` of whoever makes it.
 *
 * A tracker first gives a connection id, which proves that we receive what is sent to our address. It serves all torrents
 * for a minute, and whoever needs one while it is asked for waits for the same answer. What is not answered is sent again.
 *
 * Anybody can send us datagrams. One counts only if it comes from an address that was asked, repeats the random number of
 * the question and is of the kind that was asked for; all others, errors too, are as if they had never come. How packets
 * are laid out is `UdpTrackerCodec.ts`'s question.
 *
 * A tracker that has addresses of both families is asked over IPv4, and over IPv6 only while that is silent. So a machine
 * with both is known by its IPv4 address alone, and told of IPv4 peers alone: BEP 7 and BEP 15 leave it to the client
 * whether it announces both.
 */
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
import * as Monotonic from "../../../base/Monotonic.ts"
import * as PeerAddress from "../../../base/PeerAddress.ts"
import type { ConnectionError, DatagramSink } from "../../../network/Transport.ts"
import type { HubSocket } from "../../../network/UdpHub.ts"
import { UdpHub } from "../../../network/UdpHub.ts"
import type { AnnounceRequest } from "../Tracker.ts"
import { Tracker, TrackerError } from "../Tracker.ts"
import * as TrackerAnswer from "../TrackerAnswer.ts"
import { TrackerRefused } from "../TrackerAnswer.ts"
import * as UdpTrackerCodec from "../UdpTrackerCodec.ts"

/**
 * How long an announce or a scrape may take, from the name's resolution to the answer. BEP 15 would go on for two hours;
 * two tries of `firstWait` make up for a lost datagram. The torrent's next tracker has its turn long before.
 */
export const defaultTimeout: Duration.Input = "30 seconds"

/** How long the first answer is waited for; the wait doubles with every further try (BEP 15). */
export const firstWait: Duration.Input = "15 seconds"

/** The wait doubles no more than this often (BEP 15): 3,840 s are the longest. */
export const maxDoublings = 8

/** How long we use a connection id (BEP 15). The tracker takes it for twice as long, so that none is late. */
export const connectionIdLifetime: Duration.Input = "60 seconds"

/** How long IPv4 may be silent before IPv6 is tried too. Most trackers answer sooner, and most peers are in IPv4. */
export const familyPatience: Duration.Input = "1 second"

/** Bytes of path and query that are sent (BEP 41): with more the packet might be split on its way, and lost. */
export const maxUrlDataLength = 1000

/** Gives the addresses of a name, all with the port of `address`, best first. */
export type Lookup = (
  address: PeerAddress.PeerAddress
) => Effect.Effect<ReadonlyArray<PeerAddress.PeerAddress>, ConnectionError>

/** How UDP trackers are asked. */
export interface UdpTrackerOptions {
  /** Resolves names. */
  readonly lookup: Lookup
  /** Default `defaultTimeout`. */
  readonly timeout?: Duration.Input | undefined
}

/** A question that waits for its answer. */
interface Transaction {
  readonly id: number
  readonly expects: UdpTrackerCodec.Answer["_tag"]
  /** Whom it was sent to (`PeerAddress.format`). */
  readonly asked: Set<string>
  readonly answer: Deferred.Deferred<UdpTrackerCodec.Answer>
}

/** A connection id that is being asked for. */
interface Connecting {
  readonly transaction: Transaction
  /** Who waits; the last one to leave ends it. */
  waiting: number
  /** Not sent again before this time, in milliseconds. */
  resendAt: number
}

/** All that the trackers of one `make` share. Touched only synchronously, between two `yield*`. */
interface Client {
  readonly random: () => number
  readonly hub: UdpHub["Service"]
  readonly transactions: Map<number, Transaction>
  /** By address, as the next two. */
  readonly connecting: Map<string, Connecting>
  readonly connections: Map<string, { readonly id: Uint8Array; readonly expiresAt: number }>
}

const firstWaitMillis = Duration.toMillis(firstWait)

/** A `Tracker` that speaks UDP, until the scope closes. */
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
        ConnectionError: ({ why }) => Effect.fail(new TrackerError({ url, why })),
        TrackerRefused: ({ why }) => Effect.fail(new TrackerError({ url, why }))
      }),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(new TrackerError({ url, why: "no answer in time" }))
      })
    )
  return Tracker.of({
    announce: Effect.fn("UdpTracker.announce")(function* (url: string, request: AnnounceRequest) {
      const target = yield* Effect.fromResult(checkUrl(url))
      const { response } = yield* askAny(client, yield* resolve(target, options.lookup), "Announced", (ids) =>
        UdpTrackerCodec.encodeAnnounce({ ...ids, request, urlData: target.urlData })
      )
      return Destination.shown(target.url) === "public" ? TrackerAnswer.withoutLoopback(response) : response
    }, bounded),
    scrape: Effect.fn("UdpTracker.scrape")(function* (url: string, infoHash: Uint8Array) {
      const target = yield* Effect.fromResult(checkUrl(url))
      const { response } = yield* askAny(client, yield* resolve(target, options.lookup), "Scraped", (ids) =>
        UdpTrackerCodec.encodeScrape({ ...ids, infoHash })
      )
      return response
    }, bounded)
  })
})

/** `Tracker` over the `UdpHub` at hand. */
export const layer = (options: UdpTrackerOptions): Layer.Layer<Tracker, never, UdpHub> =>
  Layer.effect(Tracker, make(options))

interface Target {
  readonly url: URL
  readonly address: PeerAddress.PeerAddress
  readonly urlData: string
}

/** What a URL names, if it is one of a UDP tracker. What can never work says so once and for all. */
const checkUrl = (url: string): Result.Result<Target, TrackerError> => {
  const refuse = (why: string) => Result.fail(new TrackerError({ url, why, retryAfter: "never" }))
  const target = URL.parse(url)
  if (target === null) return refuse("this is not a URL")
  if (target.protocol !== "udp:") return refuse("this is not a UDP URL")
  if (target.port === "") return refuse("its URL lacks a port")
  const address = PeerAddress.make(Destination.hostOf(target), Number(target.port))
  if (address === undefined || !PeerAddress.isDialable(address)) return refuse("its URL leads nowhere")
  const why = Destination.whyNotTracker(target, address.host)
  if (why !== undefined) return refuse(why)
  const urlData = `${target.pathname}${target.search}`
  if (urlData.length > maxUrlDataLength) return refuse("its URL is too long for a datagram")
  return Result.succeed({ url: target, address, urlData: urlData === "/" ? "" : urlData })
}

/**
 * Where a tracker is: at least one address. Never a name, which whoever sends the datagrams would resolve again, unseen.
 */
const resolve = Effect.fnUntraced(function* ({ address, url }: Target, lookup: Lookup) {
  if (PeerAddress.ipBytes(address) !== undefined) return [address]
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
    Deferred.doneUnsafe(transaction.answer, Exit.succeed(answer))
  }

const begin = (client: Client, expects: Transaction["expects"]): Transaction => {
  let id: number
  do id = Math.floor(client.random() * 0x1_0000_0000)
  while (client.transactions.has(id))
  const transaction: Transaction = { id, expects, asked: new Set(), answer: Deferred.makeUnsafe() }
  client.transactions.set(id, transaction)
  return transaction
}

const send = (socket: HubSocket, transaction: Transaction, payload: Uint8Array, to: PeerAddress.PeerAddress): void => {
  transaction.asked.add(PeerAddress.format(to))
  socket.sendUnsafe(payload, to)
}

type AnswerOf<Tag extends UdpTrackerCodec.Answer["_tag"]> = Extract<UdpTrackerCodec.Answer, { readonly _tag: Tag }>

/** Waits for the answer; fails where the tracker refused. */
const answerTo = <Tag extends UdpTrackerCodec.Answer["_tag"]>(transaction: Transaction, _: Tag) =>
  Effect.flatMap(
    Deferred.await(transaction.answer),
    (answer): Effect.Effect<AnswerOf<Tag>, TrackerRefused> =>
      answer._tag === "Failed"
        ? Effect.fail(new TrackerRefused({ why: answer.why }))
        : // `receive` lets no other kind pass.
          Effect.succeed(answer as AnswerOf<Tag>)
  )

type Encode = (ids: { readonly connectionId: Uint8Array; readonly transactionId: number }) => Uint8Array

/** Asks over IPv4 where there are such addresses, and over IPv6 where there are none or they are silent. */
const askAny = <Tag extends "Announced" | "Scraped">(
  client: Client,
  addresses: ReadonlyArray<PeerAddress.PeerAddress>,
  expects: Tag,
  encode: Encode
) => {
  const ipv4 = addresses.filter((address) => familyOf(address) === "ipv4")
  const ipv6 = addresses.filter((address) => familyOf(address) === "ipv6")
  if (ipv4.length === 0 || ipv6.length === 0) return ask(client, addresses, expects, encode)
  // A machine without one family still has the other; without both, that is what is told.
  const overIpv4 = Effect.catchTag(ask(client, ipv4, expects, encode), "ConnectionError", (error) =>
    Effect.catchTag(ask(client, ipv6, expects, encode), "ConnectionError", () => Effect.fail(error))
  )
  const overIpv6 = Effect.catchTag(
    Effect.delay(ask(client, ipv6, expects, encode), familyPatience),
    "ConnectionError",
    () => Effect.never
  )
  return Effect.raceFirst(overIpv4, overIpv6)
}

/**
 * Sends what `encode` gives, again and again, until there is an answer. Each try goes to the next of the addresses, as
 * one of a name's may be out of order; all are of one family.
 */
const ask = Effect.fnUntraced(function* <Tag extends "Announced" | "Scraped">(
  client: Client,
  addresses: ReadonlyArray<PeerAddress.PeerAddress>,
  expects: Tag,
  encode: Encode
): Effect.fn.Return<AnswerOf<Tag>, TrackerRefused | ConnectionError, Scope.Scope> {
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
        // The tracker may have forgotten the id, after a restart.
        Effect.tapError(() => Effect.sync(() => client.connections.delete(PeerAddress.format(address)))),
        Effect.timeoutOption(wait)
      )
      if (Option.isSome(answer)) return answer.value
    }
  })
  return yield* Effect.raceFirst(asking, Effect.andThen(socket.closed, Effect.never))
})

/** A connection id of the tracker at `address`: the one at hand, or a new one. */
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
