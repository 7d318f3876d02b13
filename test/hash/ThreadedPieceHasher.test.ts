import { execFile } from "node:child_process"
import * as Crypto from "node:crypto"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as PieceThread from "../../src/hash/provider/node/PieceThread.ts"
import * as SharedMemory from "../../src/hash/provider/node/SharedMemory.ts"
import * as SideThread from "../../src/hash/provider/node/SideThread.ts"
import * as ThreadedPieceHasher from "../../src/hash/provider/node/ThreadedPieceHasher.ts"
import { suite } from "./PieceHasher.suite.ts"
import { piece, until, watch } from "./threads.ts"

suite("a thread, started at once", Layer.effect(PieceHasher, ThreadedPieceHasher.make({ startAfter: 0 })))

const { minLength } = PieceThread

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const sha1 = (bytes: Uint8Array) => Crypto.hash("sha1", bytes)

/** A hasher whose threads a test sees. */
const watched = (options?: PieceThread.Options) =>
  Effect.map(watch(ThreadedPieceHasher.make, options), ({ made, threads }) => ({ hasher: made, threads }))

/** The same, and its first thread, which is ready. */
const ready = Effect.gen(function* () {
  const { hasher, threads } = yield* watched()
  yield* hasher.sha1(piece(minLength))
  const [thread] = threads
  yield* until(() => thread!.isReady)
  return { hasher, threads, thread: thread! }
})

describe("ThreadedPieceHasher", () => {
  it.effect("gives pieces to the thread, two at a time, and digests the others itself", () =>
    Effect.gen(function* () {
      const { hasher, thread } = yield* ready
      const pieces = Array.from({ length: 5 }, (_, at) => piece(1 << 20, at + 1))

      const digests = yield* Effect.forEach(pieces, hasher.sha1, { concurrency: "unbounded" })
      const again = yield* Effect.forEach(pieces, hasher.sha256)

      assert.deepStrictEqual(digests.map(hex), pieces.map(sha1))
      assert.deepStrictEqual(
        again.map(hex),
        pieces.map((bytes) => Crypto.hash("sha256", bytes))
      )
      assert.strictEqual(thread.asked, 2 + 5)
    })
  )

  it.effect("digests short pieces and other memory itself", () =>
    Effect.gen(function* () {
      const { hasher, thread } = yield* ready
      const short = piece(minLength - 1)
      const own = new Uint8Array(minLength)

      const digests = [yield* hasher.sha1(short), yield* hasher.sha1(own)]

      assert.deepStrictEqual(digests.map(hex), [sha1(short), sha1(own)])
      assert.strictEqual(thread.asked, 0)
    })
  )

  it.effect("starts no thread for little", () =>
    Effect.gen(function* () {
      const { hasher, threads } = yield* watched({ startAfter: 3 * minLength })
      const one = piece(minLength)

      yield* hasher.sha1(one)
      yield* hasher.sha1(one)
      const before = threads.length
      yield* hasher.sha1(one)

      assert.deepStrictEqual([before, threads.length], [0, 1])
    })
  )

  it.effect("digests itself what a thread that ended left, and all that follows", () =>
    Effect.gen(function* () {
      const { hasher, thread, threads } = yield* ready
      const pieces = [piece(1 << 20, 3), piece(1 << 20, 5)]

      const asked = yield* Effect.forkChild(Effect.forEach(pieces, hasher.sha1, { concurrency: 2 }), {
        startImmediately: true
      })
      assert.strictEqual(thread.waiting.length, 2)
      yield* SideThread.stop(thread)
      const digests = yield* Fiber.join(asked)
      const after = yield* hasher.sha1(pieces[0]!)

      assert.deepStrictEqual([...digests, after].map(hex), [...pieces, pieces[0]!].map(sha1))
      assert.strictEqual(threads.length, 1)
    })
  )

  it.effect("digests itself if no thread can be started", () =>
    Effect.gen(function* () {
      const start = () => {
        throw new Error("no thread is left")
      }
      const { hasher } = yield* watched({ start })
      const bytes = piece(minLength)

      const digests = [yield* hasher.sha1(bytes), yield* hasher.sha1(bytes)]

      assert.deepStrictEqual(digests.map(hex), [sha1(bytes), sha1(bytes)])
    })
  )

  it.effect("keeps the order of the answers when a caller is interrupted", () =>
    Effect.gen(function* () {
      const { hasher } = yield* ready
      const [first, second] = [piece(4 << 20, 7), piece(4 << 20, 9)]

      const interrupted = yield* Effect.forkChild(hasher.sha1(first), { startImmediately: true })
      interrupted.interruptUnsafe()
      const digest = yield* hasher.sha1(second)

      assert.strictEqual(hex(digest), sha1(second))
    })
  )

  it.effect("stops an idle thread, and starts another one when there is work again", () =>
    Effect.gen(function* () {
      const { hasher, thread, threads } = yield* ready
      yield* hasher.sha1(piece(minLength))

      yield* TestClock.adjust("29 seconds")
      yield* hasher.sha1(piece(minLength))
      yield* TestClock.adjust("30 seconds")
      const wasOver = thread.isOver
      yield* TestClock.adjust("30 seconds")
      yield* until(() => thread.isOver)
      yield* hasher.sha1(piece(minLength))

      assert.isFalse(wasOver)
      assert.strictEqual(threads.length, 2)
    })
  )

  it.effect("replaces a thread that was shown much memory, because it may keep it", () =>
    Effect.gen(function* () {
      const { hasher, thread, threads } = yield* ready
      const size = 16 << 20
      const count = PieceThread.maxShownBytes / size + 2

      for (let at = 0; at < count; at++) yield* hasher.sha1(piece(size, at))
      yield* until(() => thread.isOver)

      assert.isAtMost(thread.shownBytes, PieceThread.maxShownBytes)
      const bytes = piece(minLength, 11)
      assert.strictEqual(hex(yield* hasher.sha1(bytes)), sha1(bytes))
      assert.strictEqual(threads.length, 2)
    })
  )

  it.effect("waits for no thread that is still starting", () =>
    Effect.gen(function* () {
      const { hasher, threads } = yield* watched()
      const bytes = piece(minLength)

      yield* hasher.sha1(bytes)
      yield* hasher.sha1(bytes)

      assert.deepStrictEqual(
        threads.map(({ asked, isReady }) => [asked, isReady]),
        [[0, false]]
      )
    })
  )

  it.effect("starts no thread after its scope has closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { hasher, threads } = yield* Scope.provide(watched(), scope)
      const bytes = piece(minLength)

      yield* Scope.close(scope, Exit.void)
      const digest = yield* hasher.sha1(bytes)

      assert.strictEqual(hex(digest), sha1(bytes))
      assert.strictEqual(threads.length, 0)
    })
  )

  it.effect("ends the thread with its scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { thread } = yield* Scope.provide(ready, scope)

      yield* Scope.close(scope, Exit.void)
      yield* until(() => thread.isOver)

      assert.isTrue(thread.isOver)
    })
  )
})

/** Runs a program in a process of its own, and returns what it prints. */
const run = (name: string) =>
  Effect.map(
    Effect.promise(() =>
      promisify(execFile)(process.execPath, [`test/hash/programs/${name}.ts`], {
        cwd: new URL("../../", import.meta.url)
      })
    ),
    ({ stdout }) => stdout.trim().split("\n")
  )

describe("a process of its own", () => {
  it.live("ends neither before a digest on the thread is there, nor before the thread has stopped", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* run("stop-thread"), ["hashed", "stopped"])
    })
  )

  it.live("does not keep shared memory that nobody uses any more", () =>
    Effect.gen(function* () {
      const [most] = yield* run("shared-memory")

      assert.isBelow(Number(most), 600 << 20)
    })
  )
})

describe("SharedMemory", () => {
  it("copies a part to its place, and nothing around it", () => {
    const { copy, make } = SharedMemory.memory
    const source = Uint8Array.from({ length: 100 }, (_, at) => at + 1)

    for (const [begin, end, offset] of [
      [0, 100, 0],
      [0, 10, 5],
      [90, 100, 90],
      [50, 50, 3]
    ] as const) {
      const memory = make(100)

      copy(memory, offset, source.subarray(begin, end))

      const expected = new Uint8Array(100)
      expected.set(source.subarray(begin, end), offset)
      assert.deepStrictEqual(new Uint8Array(memory), expected)
    }
  })
})
