/**
 * A storage that fails when a test says so: a decorator over any other one, which passes everything else through.
 *
 * Delays are on the `Clock`, so a test moves them. Chance is seeded, so a failed run comes again. What a medium holds
 * meanwhile is the medium's to tell (`storage/MemoryStorage.ts`).
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
 * What can be made to fail; every piece that is digested counts as one `digest`. A `flush` that fails says nothing of any
 * file; a `sync` is the part of a flush that one file is, and fails alone.
 */
export type Operation = StorageError["operation"] | "sync"

/** How an operation fails. */
export interface Fault {
  readonly reason: StorageReason
  /**
   * What a failed write left behind; `nothing` by default. `half`: the first half of the piece, before zeros, as a power
   * cut does. `all`: the whole piece, as when only the answer was lost.
   */
  readonly left?: "nothing" | "half" | "all" | undefined
}

/** The usual faults, with a path that tells where they come from. */
export const diskFull: Fault = { reason: new DiskFull({ path: "the faulty disk" }) }
export const inputOutputError: Fault = {
  reason: new StorageUnavailable({ path: "the faulty disk", why: "the disk reported an input/output error" })
}
export const refused: Fault = { reason: new StorageRefused({ path: "the faulty disk", why: "permission denied" }) }
export const damaged: Fault = { reason: new DigestMismatch({ path: "the faulty disk" }) }
export const notStored: Fault = { reason: new NotStored({ path: "the faulty disk" }) }

/** How often an operation was asked for, and what came of it. */
export interface Counts {
  readonly calls: number
  /** How many of them failed by a fault from here. */
  readonly faults: number
  /** How many are going on, delays included. */
  readonly active: number
  /** The most that ever were going on at once. */
  readonly mostActive: number
}

/** Tells a faulty storage what to do. Synchronous: what is said holds from the next call on. */
export class StorageFaults extends Context.Service<
  StorageFaults,
  {
    /** Fails the `nth` call from now; 0 is the next one. May be said of several. */
    readonly failNth: (operation: Operation, nth: number, fault: Fault) => void
    /** Fails every call until `recover`. */
    readonly failAll: (operation: Operation, fault: Fault) => void
    /** Fails each call with the chance `rate` (0 to 1), by the layer's seed, until `recover`. */
    readonly failSometimes: (operation: Operation, rate: number, fault: Fault) => void
    /** Makes each call wait before it begins, until `recover`; interruption ends the wait. */
    readonly delay: (operation: Operation, duration: Duration.Input) => void
    /** Ends all faults and delays, those of one operation or of every one. */
    readonly recover: (operation?: Operation) => void
    readonly counts: (operation: Operation) => Counts
  }
>()("piecewise/testing/StorageFaults") {}

/** What holds for one operation now. */
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

/** Puts faults around `storage`; `seed` decides about those that come by chance. */
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
    remove: newPlan()
  }
  const random = Prng.make(seed)

  const choose = (plan: Plan): Fault | undefined => {
    const call = plan.calls++
    const planned = plan.nth.get(call)
    plan.nth.delete(call)
    // Drawn for every call, so that other faults do not shift the ones by chance.
    const byChance = plan.sometimes !== undefined && random() < plan.sometimes.rate ? plan.sometimes.fault : undefined
    return planned ?? plan.all ?? byChance
  }

  /** Runs an operation as the plan says; `leave` does what a fault leaves behind. */
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

  /** Flushes one file; a fault of that is its outcome. */
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
        )
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

/** Puts faults around the storage below; without any said, it behaves as that one. */
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
