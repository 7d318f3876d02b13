/**
 * Decides what a thread beside the event loop does, so that the event loop serves peers meanwhile: digests of pieces, and
 * writes of pieces to files. What the thread has no time for is done as if there were no thread, so that both work if
 * there is much to do.
 *
 * The thread is started when it is worth its cost, and stopped when it was asked for nothing for a while. It sees the
 * memory that pieces are kept in; short pieces and other memory are not for it. No digest waits behind a write, because a
 * disk may let that wait for long, and no write waits behind one to another device. (Digests that did wait behind writes
 * made no download faster.)
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Signal from "../../../base/Signal.ts"
import * as SharedMemory from "./SharedMemory.ts"
import * as SideThread from "./SideThread.ts"

/** The shortest bytes that are digested there: 128 KiB. To ask it costs as much as to digest a third of that. */
export const minLength = 128 * 1024

/** How many bytes are digested before a thread is started: 64 MiB, which cost as much as the start. */
export const startAfter = 64 << 20

/** Digests that the thread is asked for at a time: while it computes one, the next one waits for it. */
export const maxDigests = 2

/** The most tasks that the thread has at a time, if a write is one of them. */
export const maxWrites = 4

/** A thread that was asked for nothing for this long is stopped. */
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
  readonly start?: (() => SideThread.SideThread) | undefined
}

/** What is done beside the event loop, if there is time for it. */
export interface PieceThread {
  /** The digest of `bytes`; `undefined` if the caller is to compute it. */
  readonly digest: (algorithm: SideThread.Algorithm, bytes: Uint8Array) => Effect.Effect<Uint8Array | undefined>
  /**
   * Does a write to a file on a device: one that hangs holds up writes to no other device. The bytes must not change
   * before `done` is called with how many of them were written: less than all if the caller is to go on. Returns
   * `false`, and does nothing, if the caller is to do it all.
   */
  readonly write: (
    task: SideThread.WriteTask,
    device: string,
    done: (error: SideThread.CallError | null, written: number) => void
  ) => boolean
}

/** The thread of whoever hashes pieces, which others may ask too; default none. */
export const PieceThread = Context.Reference<PieceThread | undefined>("piecewise/hash/PieceThread", {
  defaultValue: () => undefined
})

/** Makes one, until the scope closes. A process needs one. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const { start = SideThread.start } = options
  const startsAfter = options.startAfter ?? startAfter
  /** The thread that is asked. */
  let thread: SideThread.SideThread | undefined
  /** Bytes that were digested on the event loop since there is no thread. */
  let digested = 0
  /** Whether a thread could not start, or ended by itself, or the scope has closed: there is not another one. */
  let isBroken = false
  /** The device of the last write that a thread was given. All writes that it has are to this one. */
  let lastDevice: string | undefined
  const started = Signal.make()

  const stop = Effect.suspend(() => {
    const ending = thread
    thread = undefined
    return ending === undefined ? Effect.void : SideThread.stop(ending)
  }).pipe(Effect.uninterruptible)

  /** Stops the thread when it was not asked for a while. Says if there is not another one. */
  const watch = Effect.gen(function* () {
    for (let asked = -1; thread !== undefined && !thread.isOver && thread.asked !== asked; ) {
      asked = thread.asked
      yield* Effect.sleep(idleFor)
    }
    if (thread?.isOver) isBroken = true
    yield* stop
    if (isBroken)
      yield* Effect.logWarning("pieces are hashed and written without a thread, because it ended or cannot start")
  })

  const begin = (): void => {
    digested = 0
    Signal.set(started)
    try {
      thread = start()
    } catch {
      isBroken = true
    }
  }

  /** Lets a new thread take the place of one that was shown much. Whoever waits for that one asks the event loop. */
  const replace = Effect.suspend(() => {
    digested = startsAfter
    return stop
  })

  /** Whether it may ever see these bytes. */
  const isFor = (bytes: Uint8Array): boolean =>
    !isBroken && bytes.buffer.byteLength <= maxShownBytes && SharedMemory.isShared(bytes)

  const wouldSeeMuch = (thread: SideThread.SideThread, bytes: Uint8Array): boolean =>
    thread.shownBytes + SideThread.unseenBytes(thread, bytes) > maxShownBytes

  /** The thread, if it works and is to do fewer things than `most`. */
  const free = (most: number): SideThread.SideThread | undefined =>
    thread?.isReady && !thread.isOver && thread.waiting.length < most ? thread : undefined

  yield* Effect.addFinalizer(() => {
    isBroken = true
    return stop
  })
  yield* Signal.attend(started, watch)

  const self: PieceThread = {
    digest: (algorithm, bytes) =>
      Effect.suspend(() => {
        if (bytes.length < minLength || !isFor(bytes)) return Effect.undefined
        if (thread === undefined) {
          digested += bytes.length
          if (digested >= startsAfter) begin()
          return Effect.undefined
        }
        const asked = free(maxDigests)
        if (asked === undefined || asked.writes > 0) return Effect.undefined
        if (wouldSeeMuch(asked, bytes)) return Effect.as(replace, undefined)
        return SideThread.digest(asked, algorithm, bytes)
      }),
    write: (task, device, done) => {
      const [, bytes] = task
      const asked = isFor(bytes) ? free(maxWrites) : undefined
      if (asked === undefined || wouldSeeMuch(asked, bytes)) return false
      if (asked.writes > 0 && device !== lastDevice) return false
      lastDevice = device
      SideThread.write(asked, task, done)
      return true
    }
  }
  return self
})
