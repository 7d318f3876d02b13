/**
 * A thread beside the event loop that works on memory which both threads see, so nothing is copied: it computes digests,
 * and writes to files. It does one thing after the other.
 */

import * as WorkerThreads from "node:worker_threads"
import * as Effect from "effect/Effect"

/** The hash functions. */
export type Algorithm = "sha1" | "sha256"

/** To compute a digest. */
type DigestTask = readonly [algorithm: Algorithm, bytes: Uint8Array]

/** To write `bytes` to a file, from `position` on, in calls of at most `step` bytes. */
export type WriteTask = readonly [fd: number, bytes: Uint8Array, position: number, step: number]

type Task = DigestTask | WriteTask

/** Why a call of the system failed. */
export interface CallError {
  /** The name of the error number, as `ENOSPC`. */
  readonly code?: string | undefined
  readonly message: string
}

/** A digest; or how many bytes were written, or why that failed. The answers come in the order of the tasks. */
export type Answer = Uint8Array | number | CallError

/** Called once, with `undefined` if the thread has ended and did not answer. */
export type Done = (answer: Answer | undefined) => void

/** A thread. Made by `start`, changed only here. */
export interface SideThread {
  readonly worker: WorkerThreads.Worker
  /** Whoever waits for an answer, in order. */
  readonly waiting: Array<Done>
  /** Memory that the thread was shown. It may keep all of it for as long as it lives, whatever else is done with it. */
  readonly shown: WeakSet<ArrayBufferLike>
  shownBytes: number
  /** How many tasks it was given. */
  asked: number
  /** Whether it has started. Before that, it is given nothing. */
  isReady: boolean
  /** How many of its tasks are writes. A disk may let those wait for long. */
  writes: number
  /** Whether it is being stopped: the process must not end before that is done. */
  isStopping: boolean
  /** Whether it has ended. */
  isOver: boolean
}

/**
 * What the thread runs. It is passed as text, because a bundle has no file for it. So it names nothing from outside, and
 * has no functions with names: bundlers may wrap those in a function of their own (`keepNames` of esbuild).
 */
const answer = (): void => {
  const port = process.getBuiltinModule("node:worker_threads").parentPort!
  const { hash } = process.getBuiltinModule("node:crypto")
  const { writeSync } = process.getBuiltinModule("node:fs")
  port.on("message", (task: Task) => {
    if (typeof task[0] === "string") return port.postMessage(hash(task[0], task[1], "buffer"))
    const [fd, bytes, position, step] = task as WriteTask
    let at = 0
    try {
      for (let written = step; written > 0 && at < bytes.length; at += written)
        written = writeSync(fd, bytes, at, Math.min(step, bytes.length - at), position + at)
    } catch (error) {
      const { code, message } = error as CallError
      return port.postMessage({ code, message })
    }
    port.postMessage(at)
  })
}

/** The program of the thread. */
export const program = `(${answer})()`

/** Starts a thread. If it cannot start, or ends by itself, `isOver` is set, and whoever waits gets no answer. */
export const start = (): SideThread => {
  const worker = new WorkerThreads.Worker(program, { eval: true })
  const self: SideThread = {
    worker,
    waiting: [],
    shown: new WeakSet(),
    shownBytes: 0,
    asked: 0,
    isReady: false,
    writes: 0,
    isStopping: false,
    isOver: false
  }
  const end = (): void => {
    self.isOver = true
    for (const done of self.waiting.splice(0)) done(undefined)
  }
  worker.on("online", () => {
    self.isReady = true
  })
  worker.on("message", (answer: Answer) => {
    const done = self.waiting.shift()
    // Before `done`, because whoever goes on may stop the thread.
    if (self.waiting.length === 0 && !self.isStopping) worker.unref()
    done?.(answer)
  })
  worker.on("error", end)
  worker.on("exit", end)
  // An idle thread keeps no process alive.
  worker.unref()
  return self
}

/** How many bytes of memory the thread would be shown for the first time. */
export const unseenBytes = ({ shown }: SideThread, { buffer }: Uint8Array): number =>
  shown.has(buffer) ? 0 : buffer.byteLength

const ask = (self: SideThread, task: Task, done: Done): void => {
  const [, bytes] = task
  self.shownBytes += unseenBytes(self, bytes)
  self.shown.add(bytes.buffer)
  self.asked++
  if (self.waiting.push(done) === 1) self.worker.ref()
  self.worker.postMessage(task)
}

/**
 * The digest of `bytes` in shared memory; `undefined` if the thread ends before it is computed. An interruption ends the
 * wait only.
 */
export const digest = (
  self: SideThread,
  algorithm: Algorithm,
  bytes: Uint8Array
): Effect.Effect<Uint8Array | undefined> =>
  Effect.callback((resume) => {
    if (self.isOver) return resume(Effect.undefined)
    ask(self, [algorithm, bytes], (answer) => resume(Effect.succeed(answer as Uint8Array | undefined)))
  })

/**
 * Does a write whose bytes are in shared memory. They must not change before `done` is called with what it has written:
 * less than all if a call wrote nothing, or the thread has ended, which may have written a part.
 */
export const write = (
  self: SideThread,
  task: WriteTask,
  done: (error: CallError | null, written: number) => void
): void => {
  self.writes++
  ask(self, task, (answer = 0) => {
    self.writes--
    if (typeof answer === "number") done(null, answer)
    else done(answer as CallError, 0)
  })
}

/** Ends the thread, and waits until it has ended. */
export const stop = (self: SideThread): Effect.Effect<void> =>
  Effect.promise(() => {
    self.isStopping = true
    return self.worker.terminate()
  })
