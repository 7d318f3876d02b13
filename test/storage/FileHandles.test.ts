import * as NFS from "node:fs"
import * as OS from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as FileHandles from "../../src/storage/provider/node/FileHandles.ts"
import * as NodeFile from "../../src/storage/provider/node/NodeFile.ts"

describe("FileHandles", () => {
  it("closes a file on this thread only if it has a name, because to close a deleted one may take long", () => {
    const folder = NFS.mkdtempSync(Path.join(OS.tmpdir(), "piecewise-handles-"))
    const paths = ["named", "deleted"].map((name) => Path.join(folder, name))
    const [named, deleted] = paths.map((path) => NFS.openSync(path, "w"))
    NFS.unlinkSync(paths[1]!)

    const closed = [named!, deleted!].map((fd) => NodeFile.closeNow(NodeFile.nodeFileSystem, fd))
    const isOpen = [named!, deleted!].map((fd) => NodeFile.nodeFileSystem.fstatNow(fd) !== undefined)
    NFS.closeSync(deleted!)
    NFS.rmSync(folder, { recursive: true })

    assert.deepStrictEqual(closed, [Result.void, undefined])
    assert.deepStrictEqual(isOpen, [false, true])
  })

  it.effect("opens no file in the place of one that is still being closed", () =>
    Effect.gen(function* () {
      const closing = yield* Deferred.make<void>()
      const log: Array<string> = []
      const handles = FileHandles.make({
        capacity: 1,
        closeNow: () => undefined,
        close: (fd) =>
          Effect.andThen(
            Deferred.await(closing),
            Effect.sync(() => void log.push(`close ${fd}`))
          )
      })
      const slotOf = (fd: number) =>
        FileHandles.makeSlot({
          open: Effect.sync(() => {
            log.push(`open ${fd}`)
            return fd
          }),
          closeFailed: () => {},
          isLocal: () => false
        })
      const [first, second] = [slotOf(1), slotOf(2)]
      const use = (slot: FileHandles.Slot) =>
        handles.use(
          () => Result.succeed(slot),
          () => Effect.void
        )
      yield* use(first)

      const retired = yield* Effect.forkChild(handles.retire(first), { startImmediately: true })
      const used = yield* Effect.forkChild(use(second), { startImmediately: true })
      for (let turn = 0; turn < 10; turn++) yield* Effect.yieldNow
      const before = [...log]
      yield* Deferred.succeed(closing, undefined)
      yield* Fiber.join(retired)
      yield* Fiber.join(used)

      assert.deepStrictEqual([before, log], [["open 1"], ["open 1", "close 1", "open 2"]])
    })
  )

  it.effect("keeps fewer files open for a while after descriptors ran out, but as many as may be in use", () =>
    Effect.gen(function* () {
      const capacity = FileHandles.maxInUse + 8
      const handles = FileHandles.make({ capacity, close: () => Effect.void, closeNow: () => undefined })
      let number = 0
      const useAnother = Effect.suspend(() => {
        const slot = FileHandles.makeSlot({
          open: Effect.sync(() => ++number),
          closeFailed: () => {},
          isLocal: () => false
        })
        return handles.use(
          () => Result.succeed(slot),
          () => Effect.void
        )
      })
      const counts: Array<number> = []
      const fill = Effect.map(
        Effect.forEach(Array.from({ length: capacity }), () => useAnother),
        () => {
          counts.push(handles.openCount())
        }
      )

      yield* handles.closeIdle
      yield* fill
      yield* handles.closeIdle
      yield* fill
      for (let time = 0; time < capacity; time++) yield* handles.closeIdle
      yield* fill
      for (let time = 0; time < 64; time++) yield* fill
      yield* fill

      assert.deepStrictEqual(counts.slice(0, 3), [capacity, capacity - 1, FileHandles.maxInUse])
      assert.strictEqual(counts.at(-1), capacity)
    })
  )
  it.effect("opens no file in the place of a local one that cannot be closed on this thread", () =>
    Effect.gen(function* () {
      const closing = yield* Deferred.make<void>()
      let count = 0
      let most = 0
      const handles = FileHandles.make({
        capacity: 1,
        close: () => Effect.map(Deferred.await(closing), () => void count--),
        closeNow: () => undefined
      })
      const slotOf = (fd: number) =>
        FileHandles.makeSlot({
          open: Effect.sync(() => {
            most = Math.max(most, ++count)
            return fd
          }),
          closeFailed: () => {},
          isLocal: () => true
        })
      const use = (slot: FileHandles.Slot) =>
        handles.use(
          () => Result.succeed(slot),
          () => Effect.void
        )
      const [first, second] = [slotOf(1), slotOf(2)]
      yield* use(first)

      const retiring = yield* Effect.forkChild(handles.retire(first), { startImmediately: true })
      const using = yield* Effect.forkChild(use(second), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Deferred.succeed(closing, undefined)
      yield* Fiber.join(retiring)
      yield* Fiber.join(using)

      assert.strictEqual(most, 1)
    })
  )
})
