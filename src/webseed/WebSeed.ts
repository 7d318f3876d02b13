/**
 * One web seed of a torrent, for as long as its pieces are wanted: as many connections as make it faster, and a rest
 * after a fault. `SeedHealth.ts` and `SeedLanes.ts` decide; this is their shell.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as HttpClient from "effect/http/HttpClient"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as Semaphore from "effect/Semaphore"
import * as Assembly from "../assembly/Assembly.ts"
import type { SupplierContext } from "../assembly/SupplierSource.ts"
import type * as Bitfield from "../base/Bitfield.ts"
import * as Monotonic from "../base/Monotonic.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import * as RateLimiter from "../rate/RateLimiter.ts"
import * as SupplierId from "../supply/SupplierId.ts"
import type * as SeedBody from "./SeedBody.ts"
import * as SeedConnection from "./SeedConnection.ts"
import * as SeedFetch from "./SeedFetch.ts"
import * as SeedHealth from "./SeedHealth.ts"
import * as SeedLanes from "./SeedLanes.ts"
import * as SeedPlaces from "./SeedPlaces.ts"
import * as SeedUrl from "./SeedUrl.ts"

/** What is known of a web seed. It outlives a pause of its torrent, so that a pause excuses no fault. */
export interface Record {
  /** Wrong pieces are held against this number. */
  readonly id: SupplierId.SupplierId
  health: SeedHealth.SeedHealth
}

/** Makes the record of a seed that was not used yet. */
export const record = ({ ids }: SupplierContext["assembly"]): Record => ({
  id: SupplierId.nextId(ids),
  health: SeedHealth.make()
})

/** The turns of the seeds of a torrent, of which a few are used at once. */
export interface Turns {
  readonly semaphore: Semaphore.Semaphore
  /** How many seeds wait for their turn. */
  waiting: number
}

/** What a web seed needs. */
export interface Options {
  readonly record: Record
  /** Makes the client of one connection, which its scope closes. */
  readonly client: Effect.Effect<HttpClient.HttpClient, never, Scope.Scope>
  readonly context: SupplierContext
  readonly seed: SeedUrl.SeedUrl
  /** Files that the seed can never send. */
  readonly unreachable: ReadonlySet<number>
  /** A turn ends with each rest, and if others wait for theirs while nothing is wanted of this seed. */
  readonly turns: Turns
  /** The places of its connections. */
  readonly places: SeedPlaces.SeedPlaces
}

interface Seed extends Options {
  readonly name: string
}

const note = ({ record }: Seed, event: SeedHealth.Event): Effect.Effect<void> =>
  Effect.map(Monotonic.now, (now) => {
    record.health = SeedHealth.step(record.health, event, now)
  })

/** How long a seed that gave up its turn waits before it asks for one again. */
const standsBackFor = "5 seconds"

/** Does something in a turn, which may have to be waited for. */
const inTurn = <A>(turns: Turns, effect: Effect.Effect<A>): Effect.Effect<A> =>
  Effect.suspend(() => {
    let isWaiting = true
    turns.waiting++
    const begin = Effect.sync(() => {
      if (isWaiting) turns.waiting--
      isWaiting = false
    })
    return Effect.ensuring(turns.semaphore.withPermit(Effect.andThen(begin, effect)), begin)
  })

/** Supplies blocks from the seed until it is interrupted. */
export const run = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<never> {
  const { context, record, seed, turns } = options
  const { layout } = context.metainfo
  const self: Seed = { ...options, name: SeedUrl.nameOf(seed) }
  while (true) {
    yield* note(self, { _tag: "Tick" })
    const { lacking, lacksUntil, restsUntil } = record.health
    const has = SeedFetch.piecesWithout(layout, new Set([...self.unreachable, ...lacking]))
    const now = yield* Monotonic.now
    const until = has.count === 0 ? Math.max(restsUntil, lacksUntil) : restsUntil
    // Of a seed that can never send anything, the wait never ends.
    if (until > now) yield* Number.isFinite(until) ? Effect.sleep(until - now) : Effect.never
    else {
      const failure = yield* inTurn(turns, Effect.scoped(serve(self, has)))
      if (failure === undefined) {
        yield* Effect.sleep(standsBackFor)
        continue
      }
      yield* note(self, {
        _tag: "Failed",
        fault: failure.fault,
        file: seed.kind === "files" && layout.fileCount > 1 ? failure.file : undefined
      })
      context.report({
        _tag: "Failed",
        supplier: self.name,
        why: SourceUrl.withoutSecrets(failure.fault.why, seed.url.href)
      })
    }
  }
})

/** A connection that has ended, because it was to leave or because the seed failed. A bug of ours is a defect. */
interface End {
  readonly notes: SeedBody.Notes
  readonly exit: Exit.Exit<SeedConnection.Failure | undefined>
}

/** Kinds of faults of one connection that do not show that the others fail too. */
const isOfOne = ({ fault: { kind } }: SeedConnection.Failure): boolean =>
  kind === "Busy" || kind === "Unreachable" || kind === "Slow"

/** Whether the seed has a piece that is wanted. */
const isWanted = ({ context: { assembly }, record: { id } }: Seed): boolean => {
  for (const supplier of assembly.suppliers) if (supplier.id === id && Assembly.isInteresting(supplier)) return true
  return false
}

/**
 * Keeps as many connections as there should be, until a fault of the seed ends them all. Returns `undefined` if nothing
 * is wanted of it, and another seed should have its turn, or the files that it lacks are to be asked for again.
 */
const serve = Effect.fnUntraced(function* (self: Seed, has: Bitfield.Bitfield) {
  const { client, context, places, record, seed, turns } = self
  const { infoHash, layout } = context.metainfo
  /** With their seats; `undefined` while they wait for one. */
  const connections = new Map<SeedBody.Notes, SeedPlaces.Seat | undefined>()
  const ends = yield* Queue.unbounded<End>()
  let lanes = SeedLanes.make(yield* Monotonic.now)
  let hasJoined = false

  const asked = (): SeedFetch.Asked => ({ seed, layout, infoHash, servesRanges: record.health.servesRanges })
  const onServed = (): void => {
    if (!hasJoined) context.report({ _tag: "Joined", supplier: self.name })
    hasJoined = true
    record.health = SeedHealth.step(record.health, { _tag: "Served" }, 0)
  }
  const onIgnoredRange = (): void => {
    record.health = SeedHealth.step(record.health, { _tag: "IgnoredRange" }, 0)
  }
  const connect = Effect.suspend(() => {
    const notes: SeedBody.Notes = { bytes: 0, hasWaited: false, isWaiting: false, isLeaving: false }
    connections.set(notes, undefined)
    const { name } = self
    const { id } = record
    return SeedPlaces.take(places).pipe(
      Effect.flatMap((seat) => {
        connections.set(notes, seat)
        const running = Effect.flatMap(client, (client) =>
          SeedConnection.run({ client, context, asked, id, has, name, notes, onServed, onIgnoredRange })
        )
        return Effect.raceFirst(running, Deferred.await(seat.lost))
      }),
      Effect.scoped,
      Effect.match({ onFailure: (failure) => failure, onSuccess: () => undefined }),
      Effect.onExit((exit) => Effect.sync(() => Queue.offerUnsafe(ends, { notes, exit }))),
      Effect.forkScoped
    )
  })
  const tick = Effect.fnUntraced(function* () {
    const now = yield* Monotonic.now
    const all = [...connections.keys()]
    const staying = all.filter(({ isLeaving }) => !isLeaving)
    // Two connections to a seed without ranges would fetch the same file.
    const wantedOf = ({ count }: SeedLanes.SeedLanes) => (record.health.servesRanges ? count : 1)
    // A rate shows nothing about connections that have no place.
    const isShort = staying.filter((notes) => connections.get(notes) !== undefined).length < wantedOf(lanes)
    lanes = SeedLanes.step(
      lanes,
      {
        _tag: "Tick",
        bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
        isLimited: isShort || all.some(({ hasWaited }) => hasWaited) || RateLimiter.isWaitedFor(context.limits.download)
      },
      now
    )
    for (const [notes, seat] of connections) {
      if (seat !== undefined && notes.bytes > 0) seat.usedAt = now
      notes.bytes = 0
      notes.hasWaited = notes.isWaiting
    }
    const wanted = wantedOf(lanes)
    if (staying.length > wanted) staying.at(-1)!.isLeaving = true
    if (staying.length < wanted && SeedPlaces.hasFree(places)) yield* connect
  })

  yield* connect
  while (true) {
    const ended = yield* Effect.timeoutOrElse(Queue.take(ends), {
      duration: "1 second",
      orElse: () => Effect.undefined
    })
    if (ended === undefined) {
      if ([...connections.values()].every((seat) => seat === undefined)) continue
      const isDue = record.health.lacksUntil <= (yield* Monotonic.now)
      if ((isDue || turns.waiting > 0) && !isWanted(self)) return undefined
      yield* tick()
      continue
    }
    connections.delete(ended.notes)
    const failure = yield* ended.exit
    if (failure !== undefined) {
      if (connections.size === 0 || !isOfOne(failure)) return failure
      lanes = SeedLanes.step(lanes, { _tag: "Lost" }, yield* Monotonic.now)
    } else if (connections.size === 0) yield* connect
  }
})
