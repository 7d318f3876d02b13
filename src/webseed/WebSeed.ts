/**
 * One web seed of a torrent, for as long as its pieces are wanted: as many connections as make it faster, and a rest
 * after a fault. `SeedHealth.ts` and `SeedLanes.ts` decide; this is their shell.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as HttpClient from "effect/http/HttpClient"
import * as Queue from "effect/Queue"
import type * as Semaphore from "effect/Semaphore"
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
import * as SeedUrl from "./SeedUrl.ts"

/** What a web seed needs. */
export interface Options {
  readonly client: HttpClient.HttpClient
  readonly context: SupplierContext
  readonly seed: SeedUrl.SeedUrl
  /** Files that the seed can never send. */
  readonly unreachable: ReadonlySet<number>
  /** A place among the seeds of the torrent that are used at once. It is given up for each rest. */
  readonly places: Semaphore.Semaphore
}

interface Seed extends Options {
  readonly id: SupplierId.SupplierId
  readonly name: string
  health: SeedHealth.SeedHealth
}

const note = (self: Seed, event: SeedHealth.Event): Effect.Effect<void> =>
  Effect.map(Monotonic.now, (now) => {
    self.health = SeedHealth.step(self.health, event, now)
  })

/** Supplies blocks from the seed until it is interrupted. */
export const run = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<never> {
  const { context, places, seed } = options
  const { layout } = context.metainfo
  const self: Seed = {
    ...options,
    id: SupplierId.nextId(context.assembly.ids),
    name: SeedUrl.nameOf(seed),
    health: SeedHealth.make()
  }
  while (true) {
    yield* note(self, { _tag: "Tick" })
    const has = SeedFetch.piecesWithout(layout, new Set([...self.unreachable, ...self.health.lacking]))
    const now = yield* Monotonic.now
    const until = has.count === 0 ? Math.max(self.health.restsUntil, self.health.lacksUntil) : self.health.restsUntil
    // Of a seed that can never send anything, the wait never ends.
    if (until > now) yield* Number.isFinite(until) ? Effect.sleep(until - now) : Effect.never
    else {
      const failure = yield* places.withPermit(Effect.scoped(serve(self, has)))
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

/** Keeps as many connections as there should be, until a fault of the seed ends them all. */
const serve = Effect.fnUntraced(function* (self: Seed, has: Bitfield.Bitfield) {
  const { client, context, seed } = self
  const { infoHash, layout } = context.metainfo
  const connections = new Set<SeedBody.Notes>()
  const ends = yield* Queue.unbounded<End>()
  let lanes = SeedLanes.make(yield* Monotonic.now)
  let hasJoined = false

  const asked = (): SeedFetch.Asked => ({ seed, layout, infoHash, servesRanges: self.health.servesRanges })
  const onServed = (): void => {
    if (!hasJoined) context.report({ _tag: "Joined", supplier: self.name })
    hasJoined = true
    self.health = SeedHealth.step(self.health, { _tag: "Served" }, 0)
  }
  const onIgnoredRange = (): void => {
    self.health = SeedHealth.step(self.health, { _tag: "IgnoredRange" }, 0)
  }
  const connect = Effect.suspend(() => {
    const notes: SeedBody.Notes = { bytes: 0, hasWaited: false, isLeaving: false }
    connections.add(notes)
    const { id, name } = self
    return SeedConnection.run({ client, context, asked, id, has, name, notes, onServed, onIgnoredRange }).pipe(
      Effect.scoped,
      Effect.match({ onFailure: (failure) => failure, onSuccess: () => undefined }),
      Effect.onExit((exit) => Effect.sync(() => Queue.offerUnsafe(ends, { notes, exit }))),
      Effect.forkScoped
    )
  })
  const tick = Effect.fnUntraced(function* () {
    const all = [...connections]
    lanes = SeedLanes.step(
      lanes,
      {
        _tag: "Tick",
        bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
        isLimited: all.some(({ hasWaited }) => hasWaited) || RateLimiter.isWaitedFor(context.limits.download)
      },
      yield* Monotonic.now
    )
    for (const notes of all) {
      notes.bytes = 0
      notes.hasWaited = false
    }
    // Two connections to a seed without ranges would fetch the same file.
    const wanted = self.health.servesRanges ? lanes.count : 1
    const staying = all.filter(({ isLeaving }) => !isLeaving)
    if (staying.length > wanted) staying.at(-1)!.isLeaving = true
    if (staying.length < wanted) yield* connect
  })

  yield* connect
  while (true) {
    const ended = yield* Effect.timeoutOrElse(Queue.take(ends), {
      duration: "1 second",
      orElse: () => Effect.undefined
    })
    if (ended === undefined) {
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
