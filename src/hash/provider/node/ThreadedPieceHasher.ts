/**
 * Digests of pieces on a thread of their own, so that the event loop serves peers meanwhile. What the thread has no time
 * for is digested on the event loop, as in `NodePieceHasher.ts`: both work if there is much to do. `PieceThread.ts` says
 * when there is a thread. `FileSystemStorage` writes pieces on the same thread if it is built with this hasher.
 */
import * as OperatingSystem from "node:os"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Environment from "../../../base/Environment.ts"
import { PieceHasher } from "../../PieceHasher.ts"
import * as NodePieceHasher from "./NodePieceHasher.ts"
import * as PieceThread from "./PieceThread.ts"
import * as SharedMemory from "./SharedMemory.ts"
import type { Algorithm } from "./SideThread.ts"

export type { Options } from "./PieceThread.ts"
export type { Answer, CallError, Done, SideThread } from "./SideThread.ts"

/** A hasher that asks a thread. */
const over = (thread: PieceThread.PieceThread): PieceHasher["Service"] => {
  const loop = NodePieceHasher.make()
  const digest = (algorithm: Algorithm) => (bytes: Uint8Array) =>
    Effect.flatMap(thread.digest(algorithm, bytes), (digest) =>
      digest === undefined ? loop[algorithm](bytes) : Effect.succeed(digest)
    )
  return PieceHasher.of({
    sha1: digest("sha1"),
    sha256: digest("sha256"),
    atOnce: PieceThread.maxDigests + 1,
    memory: SharedMemory.memory
  })
}

/** Makes the hasher, until the scope closes. A process needs one. */
export const make = (options: PieceThread.Options = {}) => Effect.map(PieceThread.make(options), over)

/** The hasher, and its thread for whoever writes pieces. */
const layerThread: Layer.Layer<PieceHasher> = Layer.effectContext(
  Effect.map(PieceThread.make(), (thread) =>
    Context.add(Context.make(PieceHasher, over(thread)), PieceThread.PieceThread, thread)
  )
)

/**
 * Hashes on a thread beside the event loop; on the event loop alone if the machine has one core.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { PieceHasher } from "piecewise"
 * import { ThreadedPieceHasher } from "piecewise/node"
 *
 * const pieces = [new Uint8Array(262_144), new Uint8Array(262_144)]
 * const digests = PieceHasher.PieceHasher.use(({ atOnce = 1, sha1 }) =>
 *   Effect.forEach(pieces, sha1, { concurrency: atOnce })
 * )
 * const [first, second] = await Effect.runPromise(Effect.provide(digests, ThreadedPieceHasher.layer))
 * assert.deepEqual(first, second)
 * ```
 */
export const layer: Layer.Layer<PieceHasher> = Layer.unwrap(
  Effect.sync(() => (OperatingSystem.availableParallelism() < 2 ? NodePieceHasher.layer : layerThread))
)

/**
 * Digests on a thread if `PIECEWISE_HASH_THREAD` says so, or if it is not set and the machine has more than one core.
 * Fails with `ConfigError` if it is neither yes nor no.
 */
export const layerConfig = (
  usesThread: Config.Config<boolean | undefined> = Environment.optional(Environment.flag("PIECEWISE_HASH_THREAD"))
): Layer.Layer<PieceHasher, Config.ConfigError> =>
  Layer.unwrap(
    Effect.map(usesThread, (uses) => {
      if (uses === undefined) return layer
      return uses ? layerThread : NodePieceHasher.layer
    })
  )
