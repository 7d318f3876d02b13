/**
 * Digests of pieces on a thread of their own, so that the event loop serves peers meanwhile. What the thread has no time
 * for is digested on the event loop, as in `NodePieceHasher.ts`: both work if there is much to do.
 *
 * The thread is started once it is worth it, and stopped when nothing was digested for a while. It sees the memory that
 * pieces are kept in; short pieces and other memory stay on the event loop.
 */
import * as OperatingSystem from "node:os"
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Environment from "../../../base/Environment.ts"
import * as Signal from "../../../base/Signal.ts"
import { PieceHasher } from "../../PieceHasher.ts"
import * as HashThread from "./HashThread.ts"
import * as NodePieceHasher from "./NodePieceHasher.ts"
import * as SharedMemory from "./SharedMemory.ts"

export type { HashThread, Resume } from "./HashThread.ts"

/** The shortest bytes that are given to the thread: 128 KiB. To ask it costs as much as to digest a third of that. */
export const minLength = 128 * 1024

/** How many bytes are digested before a thread is started: 64 MiB, which cost as much as the start. */
export const startAfter = 64 << 20

/** Digests that the thread is asked for at a time: while it computes one, the next one waits for it. */
export const maxAsked = 2

/** After this long without a digest, the thread is stopped. */
export const idleFor = "30 seconds"

/**
 * How many bytes of memory a thread is shown before another one takes its place: 128 MiB. V8 keeps memory for as long
 * as a thread may still see it, also what the engine has long given back.
 */
export const maxShownBytes = 128 << 20

/** How the thread is used. */
export interface Options {
  /** How many bytes are digested before a thread is started; default `startAfter`. */
  readonly startAfter?: number | undefined
  /** Starts a thread; tests have one that fails. */
  readonly start?: (() => HashThread.HashThread) | undefined
}

/** Makes the hasher, until the scope closes. A process needs one. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const { start = HashThread.start } = options
  const startsAfter = options.startAfter ?? startAfter
  const loop = NodePieceHasher.make()
  /** The thread that is asked. */
  let thread: HashThread.HashThread | undefined
  /** Bytes that were digested on the event loop since there is no thread. */
  let digested = 0
  /** Whether a thread could not start, or ended by itself, or the scope has closed: there is not another one. */
  let isBroken = false
  const started = Signal.make()

  const stop = Effect.suspend(() => {
    const ending = thread
    thread = undefined
    return ending === undefined ? Effect.void : HashThread.stop(ending)
  }).pipe(Effect.uninterruptible)

  /** Stops the thread when it was not asked for a while. */
  const watch = Effect.gen(function* () {
    for (let asked = -1; thread !== undefined && thread.asked !== asked; ) {
      asked = thread.asked
      yield* Effect.sleep(idleFor)
    }
    yield* stop
  })

  const begin = (): void => {
    digested = 0
    try {
      thread = start()
      Signal.set(started)
    } catch {
      isBroken = true
    }
  }

  /** Lets a new thread take the place of one that was shown much. Whoever waits for that one asks the event loop. */
  const replace = Effect.suspend(() => {
    digested = startsAfter
    return stop
  })

  /** The thread, if it is to digest these bytes. */
  const threadFor = (bytes: Uint8Array): HashThread.HashThread | undefined => {
    const { byteLength } = bytes.buffer
    if (isBroken || bytes.length < minLength || byteLength > maxShownBytes || !SharedMemory.isShared(bytes))
      return undefined
    if (thread === undefined) {
      digested += bytes.length
      if (digested >= startsAfter) begin()
      return undefined
    }
    if (thread.isOver) {
      isBroken = true
      thread = undefined
      return undefined
    }
    return thread.isReady && thread.waiting.length < maxAsked ? thread : undefined
  }

  const digest = (algorithm: HashThread.Algorithm) => (bytes: Uint8Array) =>
    Effect.suspend(() => {
      const asked = threadFor(bytes)
      if (asked === undefined) return loop[algorithm](bytes)
      if (asked.shownBytes + HashThread.unseenBytes(asked, bytes) > maxShownBytes)
        return Effect.andThen(replace, loop[algorithm](bytes))
      return Effect.flatMap(HashThread.digest(asked, algorithm, bytes), (digest) =>
        digest === undefined ? loop[algorithm](bytes) : Effect.succeed(digest)
      )
    })

  yield* Effect.addFinalizer(() => {
    isBroken = true
    return stop
  })
  yield* Signal.attend(started, watch)
  return PieceHasher.of({
    sha1: digest("sha1"),
    sha256: digest("sha256"),
    atOnce: maxAsked + 1,
    memory: SharedMemory.memory
  })
})

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
  Effect.sync(() =>
    OperatingSystem.availableParallelism() < 2 ? NodePieceHasher.layer : Layer.effect(PieceHasher, make())
  )
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
      return uses ? Layer.effect(PieceHasher, make()) : NodePieceHasher.layer
    })
  )
