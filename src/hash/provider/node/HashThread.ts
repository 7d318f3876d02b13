/**
 * A thread that computes digests beside the event loop, one after the other. It reads memory that both threads see, so
 * nothing is copied.
 */

import * as WorkerThreads from "node:worker_threads"
import * as Effect from "effect/Effect"

/** The hash functions. */
export type Algorithm = "sha1" | "sha256"

/** What the thread is asked. It answers in the same order, each time with the digest. */
type Question = readonly [algorithm: Algorithm, bytes: Uint8Array]

/** Called with the digest, or with nothing if the thread cannot compute it. */
export type Resume = (digest: Effect.Effect<Uint8Array | undefined>) => void

/** A thread. Made by `start`, changed only here. */
export interface HashThread {
  readonly worker: WorkerThreads.Worker
  /** Whoever waits for an answer, in order. */
  readonly waiting: Array<Resume>
  /** Memory that the thread was shown. It may keep all of it for as long as it lives, whatever else is done with it. */
  readonly shown: WeakSet<ArrayBufferLike>
  shownBytes: number
  /** How many digests were asked for. */
  asked: number
  /** Whether it has started. Before that, nothing is asked. */
  isReady: boolean
  /** Whether it is being stopped: the process must not end before that is done. */
  isStopping: boolean
  /** Whether it has ended. */
  isOver: boolean
}

/** What the thread runs. Names nothing from outside, because it is passed as text: a bundle has no file for it. */
const answer = (): void => {
  const port = process.getBuiltinModule("node:worker_threads").parentPort!
  const { hash } = process.getBuiltinModule("node:crypto")
  port.on("message", ([algorithm, bytes]: Question) => port.postMessage(hash(algorithm, bytes, "buffer")))
}

/** Starts a thread. If it cannot start, or ends by itself, `isOver` is set, and whoever waits gets no digest. */
export const start = (): HashThread => {
  const worker = new WorkerThreads.Worker(`(${answer})()`, { eval: true })
  const self: HashThread = {
    worker,
    waiting: [],
    shown: new WeakSet(),
    shownBytes: 0,
    asked: 0,
    isReady: false,
    isStopping: false,
    isOver: false
  }
  const end = (): void => {
    self.isOver = true
    for (const resume of self.waiting.splice(0)) resume(Effect.undefined)
  }
  worker.on("online", () => {
    self.isReady = true
  })
  worker.on("message", (digest: Uint8Array) => {
    const resume = self.waiting.shift()
    // Before anybody goes on, who may stop the thread.
    if (self.waiting.length === 0 && !self.isStopping) worker.unref()
    resume?.(Effect.succeed(digest))
  })
  worker.on("error", end)
  worker.on("exit", end)
  // An idle thread keeps no process alive.
  worker.unref()
  return self
}

/** How many bytes of memory the thread would be shown for the first time. */
export const unseenBytes = ({ shown }: HashThread, { buffer }: Uint8Array): number =>
  shown.has(buffer) ? 0 : buffer.byteLength

/**
 * The digest of `bytes` in shared memory; `undefined` if the thread ends before it is computed. An interruption ends
 * the wait only.
 */
export const digest = (
  self: HashThread,
  algorithm: Algorithm,
  bytes: Uint8Array
): Effect.Effect<Uint8Array | undefined> =>
  Effect.callback((resume) => {
    if (self.isOver) return resume(Effect.undefined)
    self.shownBytes += unseenBytes(self, bytes)
    self.shown.add(bytes.buffer)
    self.asked++
    if (self.waiting.push(resume) === 1) self.worker.ref()
    const question: Question = [algorithm, bytes]
    self.worker.postMessage(question)
  })

/** Ends the thread, and waits until it has ended. */
export const stop = (self: HashThread): Effect.Effect<void> =>
  Effect.promise(() => {
    self.isStopping = true
    return self.worker.terminate()
  })
