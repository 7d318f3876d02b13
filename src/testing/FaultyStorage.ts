/**
 * A storage that fails when a test says so: a decorator over any other one, which passes everything else through.
 *
 * Delays are on the `Clock`, so a test moves them. Chance is seeded, so a failed run can be repeated. To see what a
 * medium holds meanwhile, look at the medium (`storage/provider/memory/MemoryStorage.ts`).
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Prng from "../base/Prng.ts"
import {
  DigestMismatch,
  DiskFull,
  type FlushedFile,
  NotStored,
  Storage,
  StorageError,
  type StorageReason,
  StorageRefused,
  StorageUnavailable,
  type TorrentStorage
} from "../storage/Storage.ts"

/**
 * What can fail; every piece that is digested counts as one `digest`. A `flush` that fails reports nothing about any
 * file; a `sync` is the flush of one file, and fails alone.
 */
export type Operation = StorageError["operation"] | "sync"

/** How an operation fails. */
export interface Fault {
  readonly reason: StorageReason
  /**
   * What a failed write leaves behind; `nothing` by default. `half`: the first half of the piece, before zeros, as
   * after a power cut. `all`: the whole piece, as when only the answer was lost.
   */
  readonly left?: "nothing" | "half" | "all" | undefined
}

// The usual faults, with a path that shows their origin.

/** There is no room. */
export const diskFull: Fault = { reason: new DiskFull({ path: "the faulty disk" }) }

/** The disk reports an error, which may pass by itself (EIO). */
export const inputOutputError: Fault = {
  reason: new StorageUnavailable({ path: "the faulty disk", why: "the disk reported an input/output error" })
}

/** The disk takes nothing until a person changes something (EACCES). */
export const refused: Fault = { reason: new StorageRefused({ path: "the faulty disk", why: "permission denied" }) }

/** The bytes do not have their digest, says a medium that verifies. */
export const damaged: Fault = { reason: new DigestMismatch({ path: "the faulty disk" }) }

/** The bytes are not there. */
export const notStored: Fault = { reason: new NotStored({ path: "the faulty disk" }) }

/** How often an operation was called, and how the calls ended. */
export interface Counts {
  readonly calls: number
  /** How many of them failed by a fault from here. */
  readonly faults: number
  /** How many are under way, delays included. */
  readonly active: number
  /** The most that were ever under way at once. */
  readonly mostActive: number
}

/** Controls a faulty storage. Synchronous: a fault applies from the next call on. */
export class StorageFaults extends Context.Service<
  StorageFaults,
  {
    /** Fails the `nth` call from now; 0 is the next one. May be used for several calls. */
    readonly failNth: (operation: Operation, nth: number, fault: Fault) => void
    /** Fails every call until `recover`. */
    readonly failAll: (operation: Operation, fault: Fault) => void
    /** Fails each call with the chance `rate` (0 to 1), by the layer's seed, until `recover`. */
    readonly failSometimes: (operation: Operation, rate: number, fault: Fault) => void
    /** Makes each call wait before it begins, until `recover`; interruption ends the wait. */
    readonly delay: (operation: Operation, duration: Duration.Input) => void
    /** Ends all faults and delays, of one operation or of all. */
    readonly recover: (operation?: Operation) => void
    readonly counts: (operation: Operation) => Counts
  }
>()("piecewise/testing/StorageFaults") {}

/** What applies to one operation now. */
interface Plan {
  calls: number
  faults: number
  active: number
  mostActive: number
  /** By the number of the call. */
  readonly nth: Map<number, Fault>
  all: Fault | undefined
  sometimes: { readonly rate: number; readonly fault: Fault } | undefined
  delay: Duration.Input | undefined
}

const newPlan = (): Plan => ({
  calls: 0,
  faults: 0,
  active: 0,
  mostActive: 0,
  nth: new Map(),
  all: undefined,
  sometimes: undefined,
  delay: undefined
})

/** Puts faults around `storage`; `seed` determines random faults. */
export const make = (storage: Storage["Service"], seed = 0) => {
  const plans: Readonly<Record<Operation, Plan>> = {
    open: newPlan(),
    look: newPlan(),
    reserve: newPlan(),
    claim: newPlan(),
    prepare: newPlan(),
    write: newPlan(),
    read: newPlan(),
    digest: newPlan(),
    flush: newPlan(),
    sync: newPlan(),
    rename: newPlan(),
    move: newPlan(),
    remove: newPlan()
  }
  const random = Prng.make(seed)

  const choose = (plan: Plan): Fault | undefined => {
    const call = plan.calls++
    const planned = plan.nth.get(call)
    plan.nth.delete(call)
    // Drawn for every call, so that other faults do not shift the random ones.
    const byChance = plan.sometimes !== undefined && random() < plan.sometimes.rate ? plan.sometimes.fault : undefined
    return planned ?? plan.all ?? byChance
  }

  /** Runs an operation as planned; `leave` does what a fault leaves behind. */
  const operate = <A, R>(
    operation: Operation,
    effect: Effect.Effect<A, StorageError, R>,
    leave?: (left: "half" | "all") => Effect.Effect<void, StorageError, R>
  ): Effect.Effect<A, StorageError, R> =>
    Effect.suspend(() => {
      const plan = plans[operation]
      const fault = choose(plan)
      plan.mostActive = Math.max(plan.mostActive, ++plan.active)
      const left = fault?.left ?? "nothing"
      const failing =
        fault === undefined
          ? effect
          : Effect.andThen(
              left === "nothing" || leave === undefined ? Effect.void : leave(left),
              Effect.suspend(() => {
                plan.faults++
                const named = operation === "sync" ? "flush" : operation
                return Effect.fail(new StorageError({ operation: named, reason: fault.reason }))
              })
            )
      const delayed = plan.delay === undefined ? failing : Effect.andThen(Effect.sleep(plan.delay), failing)
      return Effect.ensuring(
        delayed,
        Effect.sync(() => void plan.active--)
      )
    })

  const around = (torrent: TorrentStorage): TorrentStorage => ({
    verifies: torrent.verifies,
    look: (files) => operate("look", torrent.look(files)),
    reserve: (files) => operate("reserve", torrent.reserve(files)),
    release: torrent.release,
    claim: (claims) => operate("claim", torrent.claim(claims)),
    prepare: (files) => operate("prepare", torrent.prepare(files)),
    writePiece: (piece, bytes, sha1) =>
      operate("write", torrent.writePiece(piece, bytes, sha1), (left) => torrent.writePiece(piece, part(bytes, left))),
    readBlock: (piece, begin, length, into) => operate("read", torrent.readBlock(piece, begin, length, into)),
    digests: (pieces) =>
      Stream.mapEffect(torrent.digests(pieces), (digest) => operate("digest", Effect.succeed(digest))),
    flush: (files) =>
      operate(
        "flush",
        Effect.map(
          Effect.forEach(files, (file) => sync(torrent, file)),
          (outcomes) => outcomes.flat()
        )
      ),
    rename: (file, path) => operate("rename", torrent.rename(file, path)),
    remove: (files) => operate("remove", torrent.remove(files))
  })

  /** Flushes one file; a fault becomes its outcome. */
  const sync = (torrent: TorrentStorage, file: number) =>
    Effect.matchEffect(operate("sync", Effect.result(torrent.flush([file]))), {
      onSuccess: Effect.fromResult,
      onFailure: ({ reason }) => Effect.succeed<ReadonlyArray<FlushedFile>>([{ file, reason }])
    })

  const faults = StorageFaults.of({
    failNth: (operation, nth, fault) => {
      const plan = plans[operation]
      plan.nth.set(plan.calls + nth, fault)
    },
    failAll: (operation, fault) => {
      plans[operation].all = fault
    },
    failSometimes: (operation, rate, fault) => {
      plans[operation].sometimes = { rate, fault }
    },
    delay: (operation, duration) => {
      plans[operation].delay = duration
    },
    recover: (operation) => {
      for (const plan of operation === undefined ? Object.values(plans) : [plans[operation]]) {
        plan.nth.clear()
        plan.all = undefined
        plan.sometimes = undefined
        plan.delay = undefined
      }
    },
    counts: (operation) => {
      const { active, calls, faults, mostActive } = plans[operation]
      return { calls, faults, active, mostActive }
    }
  })

  return {
    storage: Storage.of({
      open: (options) =>
        operate(
          "open",
          Effect.map(storage.open(options), (torrent) => around(torrent))
        ),
      ...(storage.move && { move: (options) => operate("move", storage.move!(options)) })
    }),
    faults
  }
}

const part = (bytes: Uint8Array, left: "half" | "all"): Uint8Array => {
  if (left === "all") return bytes
  const half = new Uint8Array(bytes.length)
  half.set(bytes.subarray(0, bytes.length >>> 1))
  return half
}

/**
 * Puts faults around the storage below; without any, it behaves as that storage does.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Layer } from "effect"
 * import { MemoryStorage, Storage, WebCryptoPieceHasher } from "piecewise"
 * import { FaultyStorage, KnownTorrent } from "piecewise/testing"
 *
 * const program = Effect.gen(function* () {
 *   const { metainfo } = yield* KnownTorrent.make({ files: [{ path: [], length: 5 }], pieceLength: 16_384 })
 *   const torrent = yield* Storage.Storage.use((storage) => storage.open(metainfo))
 *   const faults = yield* FaultyStorage.StorageFaults
 *   faults.failNth("look", 0, FaultyStorage.inputOutputError)
 *
 *   const { reason } = yield* Effect.flip(torrent.look([0]))
 *   assert.equal(reason._tag, "StorageUnavailable")
 *   assert.deepEqual(yield* torrent.look([0]), [undefined])
 * })
 * const storage = Layer.provide(FaultyStorage.layer(), MemoryStorage.layer())
 * const layer = Layer.provideMerge(storage, WebCryptoPieceHasher.layer)
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer)))
 * ```
 */
export const layer = (options?: {
  /** For `failSometimes`; default 0. */
  readonly seed?: number | undefined
}): Layer.Layer<Storage | StorageFaults, never, Storage> =>
  Layer.effectContext(
    Effect.map(Storage, (below) => {
      const { faults, storage } = make(below, options?.seed)
      return Context.make(Storage, storage).pipe(Context.add(StorageFaults, faults))
    })
  )
