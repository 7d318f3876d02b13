import * as NFS from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import * as PieceThread from "../../src/hash/provider/node/PieceThread.ts"
import * as SideThread from "../../src/hash/provider/node/SideThread.ts"
import { temporaryFolder } from "../storage/disk.ts"
import { piece, until, watch } from "./threads.ts"

const { minLength } = PieceThread

/** A thread that is ready. */
const ready = Effect.gen(function* () {
  const { made, threads } = yield* watch(PieceThread.make)
  yield* made.digest("sha1", piece(minLength))
  const [thread] = threads
  yield* until(() => thread!.isReady)
  return { made, thread: thread! }
})

/** A file, open in a way, until the scope closes. */
const file = Effect.fnUntraced(function* (flags: string) {
  const path = `${yield* temporaryFolder}/file`
  NFS.writeFileSync(path, "")
  const fd = yield* Effect.acquireRelease(
    Effect.sync(() => NFS.openSync(path, flags)),
    (fd) => Effect.sync(() => NFS.closeSync(fd))
  )
  return { fd, path }
})

/** Begins a write to a device; `outcome` waits for its end. */
const beginOn = (device: string, thread: PieceThread.PieceThread, ...task: SideThread.WriteTask) => {
  let ended: { readonly code: string | undefined; readonly written: number } | undefined
  const isTaken = thread.write(task, device, (error, written) => {
    ended = { code: error?.code, written }
  })
  return {
    isTaken,
    outcome: Effect.map(
      until(() => ended !== undefined),
      () => ended!
    )
  }
}

const begin = (thread: PieceThread.PieceThread, ...task: SideThread.WriteTask) => beginOn("1", thread, ...task)

describe("PieceThread", () => {
  it.effect("writes all of the bytes at their place", () =>
    Effect.gen(function* () {
      const { made } = yield* ready
      const { fd, path } = yield* file("r+")
      const bytes = piece(1 << 20, 3)

      const { isTaken, outcome } = begin(made, fd, bytes.subarray(5), 7, 131_072)
      const ended = yield* outcome

      assert.isTrue(isTaken)
      assert.deepStrictEqual(ended, { code: undefined, written: bytes.length - 5 })
      assert.isTrue(NFS.readFileSync(path).equals(Buffer.concat([Buffer.alloc(7), bytes.subarray(5)])))
    })
  )

  it.effect("passes on why a write failed", () =>
    Effect.gen(function* () {
      const { made } = yield* ready
      const { fd } = yield* file("r")

      const ended = yield* begin(made, fd, piece(minLength), 0, 131_072).outcome

      assert.deepStrictEqual(ended, { code: "EBADF", written: 0 })
    })
  )

  it.effect("lets no digest wait behind a write, and few writes behind each other: a disk may let them wait", () =>
    Effect.gen(function* () {
      const { made, thread } = yield* ready
      const { fd } = yield* file("r+")
      const bytes = piece(1 << 20)

      const writes = Array.from({ length: PieceThread.maxWrites + 1 }, () => begin(made, fd, bytes, 0, 131_072))
      const digest = yield* made.digest("sha1", bytes)
      yield* Effect.forEach(writes.slice(0, -1), ({ outcome }) => outcome)
      const later = yield* made.digest("sha1", bytes)

      assert.deepStrictEqual(
        writes.map(({ isTaken }) => isTaken),
        [true, true, true, true, false]
      )
      assert.isUndefined(digest)
      assert.isDefined(later)
      assert.strictEqual(thread.asked, PieceThread.maxWrites + 1)
    })
  )

  it.effect("lets no write wait behind one to another device, which may hang", () =>
    Effect.gen(function* () {
      const { made } = yield* ready
      const { fd } = yield* file("r+")
      const bytes = piece(1 << 20)

      const first = beginOn("1", made, fd, bytes, 0, 131_072)
      const others = [beginOn("2", made, fd, bytes, 0, 131_072), beginOn("1", made, fd, bytes, 0, 131_072)]
      yield* Effect.forEach([first, others[1]!], ({ outcome }) => outcome)
      const later = beginOn("2", made, fd, bytes, 0, 131_072)
      yield* later.outcome

      assert.deepStrictEqual(
        [first, ...others, later].map(({ isTaken }) => isTaken),
        [true, false, true, true]
      )
    })
  )

  it.effect("writes no memory that the thread cannot see, and nothing before there is a thread", () =>
    Effect.gen(function* () {
      const { made: early } = yield* watch(PieceThread.make)
      const { made } = yield* ready
      const { fd } = yield* file("r+")

      const own = begin(made, fd, new Uint8Array(minLength), 0, 131_072)
      const before = begin(early, fd, piece(minLength), 0, 131_072)

      assert.deepStrictEqual([own.isTaken, before.isTaken], [false, false])
    })
  )

  it("runs a program without functions that have names, because bundlers wrap those in a function of their own", () => {
    const named = /(?:const|let|var) \w+ = (?:async )?(?:function|\([^)]*\) =>|\w+ =>)|function \w/

    assert.notMatch(SideThread.program, named)
  })

  it.effect("leaves the rest of a write to the caller if the thread ends", () =>
    Effect.gen(function* () {
      const { made, thread } = yield* ready
      const { fd } = yield* file("r+")

      const digesting = yield* Effect.forkChild(made.digest("sha1", piece(64 << 20)), { startImmediately: true })
      const writing = begin(made, fd, piece(1 << 20), 0, 131_072)
      yield* SideThread.stop(thread)
      const ended = yield* writing.outcome
      digesting.interruptUnsafe()

      assert.isTrue(writing.isTaken)
      assert.deepStrictEqual(ended, { code: undefined, written: 0 })
      assert.isFalse(begin(made, fd, piece(1 << 20), 0, 131_072).isTaken)
    })
  )

  it.effect("says if the thread ended by itself or cannot start, and starts no other", () => {
    const logged: Array<string> = []
    const logger = Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])
    return Effect.gen(function* () {
      const { made, thread } = yield* ready
      const broken = yield* PieceThread.make({
        startAfter: 0,
        start: () => {
          throw new Error("no thread is left")
        }
      })

      yield* broken.digest("sha1", piece(minLength))
      yield* TestClock.adjust("1 second")
      const ofBroken = logged.splice(0)
      yield* SideThread.stop(thread)
      yield* TestClock.adjust("30 seconds")
      yield* made.digest("sha1", piece(minLength))

      const text = "pieces are hashed and written without a thread, because it ended or cannot start"
      assert.deepStrictEqual([ofBroken, logged], [[text], [text]])
    }).pipe(Effect.provide(logger))
  })
})
