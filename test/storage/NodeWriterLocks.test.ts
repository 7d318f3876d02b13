/** Locks on real disks: of writers in one process, of several processes in one, and of real processes. */
import * as ChildProcess from "node:child_process"
import * as NFS from "node:fs"
import * as OS from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as LockNames from "../../src/storage/provider/node/locks/LockNames.ts"
import { WriterHeld } from "../../src/storage/provider/node/locks/LockNames.ts"
import * as NodeLockSystem from "../../src/storage/provider/node/locks/NodeLockSystem.ts"
import * as NodeWriterLocks from "../../src/storage/provider/node/locks/NodeWriterLocks.ts"
import { cpuMillis } from "../linear.ts"
import { temporaryFolder } from "./disk.ts"
import * as Holders from "./holders.ts"

const pathsOf = (paths: ReadonlyArray<string>) => paths.map((path) => path.split("/"))

const take = (process: NodeWriterLocks.LockProcess, directory: string, ...paths: ReadonlyArray<string>) =>
  NodeWriterLocks.make({ directory, process }).acquire(pathsOf(paths), `writes ${paths.join()}`)

/** What keeps a writer from files: a sentence, or `undefined` if nothing does. */
const refusal = (process: NodeWriterLocks.LockProcess, directory: string, ...paths: ReadonlyArray<string>) =>
  take(process, directory, ...paths).pipe(
    Effect.as(undefined),
    Effect.catchIf(
      (error) => error instanceof WriterHeld,
      (error) => Effect.succeed(error.message)
    ),
    Effect.scoped
  )

const locksOf = (directory: string): ReadonlyArray<string> => {
  const place = Path.join(directory, ...LockNames.folder)
  return NFS.existsSync(place) ? NFS.readdirSync(place) : []
}

const descriptors = () => NFS.readdirSync("/proc/self/fd").length

/** Links to a socket fail as on another file system. */
const withoutLinks: NodeLockSystem.LockSystem = {
  ...NodeLockSystem.nodeLockSystem,
  link: () => Effect.fail({ code: "EXDEV", message: "EXDEV: injected" })
}

const { CI } = process.env
const mayIsolate = CI === "true" || (process.platform === "linux" && process.getuid?.() === 0)

describe("writers of one process", () => {
  it.effect("share a folder and a name, but no file", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const own = NodeWriterLocks.makeProcess()
      yield* take(own, directory, "t/a", "t/b")

      assert.isUndefined(yield* refusal(own, directory, "t/c", "u"))
      const held = yield* Effect.flip(take(own, directory, "t/c", "t/b"))
      assert.instanceOf(held, WriterHeld)
      const file = Path.join(directory, "t", "b")
      assert.strictEqual(held.message, `${file} is being written by another torrent of this process, writes t/a,t/b`)
      assert.isUndefined(yield* refusal(own, directory, "t/c"))
    })
  )

  it.effect("conflict in names that some file system does not distinguish", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const own = NodeWriterLocks.makeProcess()
      yield* take(own, directory, "Folder/Caf\u00e9", "Folder/cafe\u0301")

      assert.isDefined(yield* refusal(own, directory, "folder/CAFE\u0301"))
    })
  )

  it.effect("take files that another writer has released in time in proportion to their number", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const locks = NodeWriterLocks.make({ directory, process: NodeWriterLocks.makeProcess() })
      const millis = yield* Effect.forEach([4_000, 40_000], (count) =>
        Effect.scoped(
          Effect.gen(function* () {
            const paths = Array.from({ length: count }, (_, index) => [`${count}`, `${index}`])
            const first = yield* locks.acquire(paths, "first")
            yield* first.release(Array.from({ length: count - 1 }, (_, index) => index))
            const began = cpuMillis()
            yield* locks.acquire(paths.slice(0, -1), "second")
            return cpuMillis() - began
          })
        )
      )

      // Ten times as many files: quadratic work would take some fifty times as long.
      assert.isBelow(millis[1]!, 25 * Math.max(millis[0]!, 10))
    })
  )

  it.effect("do not conflict with themselves", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const locks = NodeWriterLocks.make({ directory, process: NodeWriterLocks.makeProcess() })
      const torrent = {}
      const first = yield* locks.acquire([["t", "ReadMe"]], "first", torrent)

      const second = yield* locks.acquire([["t", "README"]], "second", torrent)
      yield* first.release([0])
      const held = yield* Effect.flip(locks.acquire([["t", "readme"]], "other"))
      yield* second.release([0])
      yield* locks.acquire([["t", "readme"]], "other")

      assert.instanceOf(held, WriterHeld)
      assert.include(held.message, "another torrent of this process, second")
    })
  )

  it.effect("conflict through links and in download folders that are inside each other", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      NFS.mkdirSync(Path.join(directory, "real", "sub"), { recursive: true })
      NFS.symlinkSync("real", Path.join(directory, "link"))
      const own = NodeWriterLocks.makeProcess()
      yield* take(own, directory, "real/sub/a", "real/new/b")

      assert.isDefined(yield* refusal(own, directory, "link/sub/a"))
      assert.isDefined(yield* refusal(own, directory, "link/new/b"))
      assert.isDefined(yield* refusal(own, Path.join(directory, "link", "sub"), "a"))
      assert.isDefined(yield* refusal(own, Path.join(directory, "real"), "new/b"))
      assert.isUndefined(yield* refusal(own, Path.join(directory, "real"), "a"))
    })
  )

  it.effect("release single files, and all of them with their scope", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const own = NodeWriterLocks.makeProcess()
      const scope = yield* Scope.make()
      const writer = yield* Scope.provide(take(own, directory, "t/a", "t/b"), scope)
      yield* writer.release([0])
      yield* writer.release([0, 0])

      assert.isUndefined(yield* refusal(own, directory, "t/a"))
      assert.isDefined(yield* refusal(own, directory, "t/b"))
      yield* Scope.close(scope, Exit.void)
      assert.isUndefined(yield* refusal(own, directory, "t/a", "t/b"))
      assert.deepStrictEqual(NFS.readdirSync(directory), [])
    })
  )

  it.live("fault 74: list no folder again for each torrent of those that wait together", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      let lists = 0
      const system = NodeLockSystem.nodeLockSystem
      const list: NodeLockSystem.LockSystem["list"] = (path) => {
        lists++
        return system.list(path)
      }
      const own = NodeWriterLocks.makeProcess({ ...system, list })
      const names = Array.from({ length: 100 }, (_, index) => `t${index}`)
      yield* Effect.forEach(names, (name) => take(own, directory, name), { concurrency: "unbounded" })

      assert.strictEqual(locksOf(directory).length, names.length + 1)
      // Four folders a torrent if each looks for itself.
      assert.isBelow(lists, names.length)
      const other = NodeWriterLocks.makeProcess()
      assert.isDefined(yield* refusal(other, directory, "t99"))
    })
  )

  it.effect("use one descriptor for all folders of a file system, and none without a lock", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const own = NodeWriterLocks.makeProcess()
      const before = descriptors()
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Effect.forEach(["x", "y", "x/inner", "z"], (name) => take(own, Path.join(directory, name), "a", "b"), {
            concurrency: "unbounded"
          })
          assert.strictEqual(descriptors(), before + 1)
        })
      )

      assert.strictEqual(descriptors(), before)
      assert.deepStrictEqual(NFS.readdirSync(directory, { recursive: true }).sort(), ["x", "x/inner", "y", "z"])
    })
  )

  it.live("listen on another socket if the first one cannot have a name", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const own = NodeWriterLocks.makeProcess(withoutLinks)
      const before = descriptors()
      yield* take(own, Path.join(directory, "x"), "a")
      yield* take(own, Path.join(directory, "y"), "a")

      assert.strictEqual(descriptors(), before + 2)
      assert.isDefined(yield* refusal(NodeWriterLocks.makeProcess(), Path.join(directory, "y"), "a"))
    })
  )
})

describe("writers of several processes", () => {
  it.live("write one folder, but nothing below one topmost name", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const [one, other] = [NodeWriterLocks.makeProcess(), NodeWriterLocks.makeProcess()]
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* take(one, directory, "t/a")
          yield* take(other, directory, "u/a")

          const why = yield* refusal(other, directory, "T/b", "v")
          const self = `process ${process.pid} on ${OS.hostname()}`
          assert.strictEqual(why, `${Path.join(directory, "T")} is being written by ${self}: writes t/a`)
          assert.isUndefined(yield* refusal(other, directory, "v"))
        })
      )
      assert.isUndefined(yield* refusal(other, directory, "t/a"))
      assert.deepStrictEqual(NFS.readdirSync(directory), [])
    })
  )

  it.live("may have a name once each of its files needs no more writes", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const [one, other] = [NodeWriterLocks.makeProcess(), NodeWriterLocks.makeProcess()]
      const writer = yield* take(one, directory, "t/a", "t/b", "u")
      yield* take(one, directory, "t/c")

      yield* writer.release([0, 1])
      assert.isDefined(yield* refusal(other, directory, "t/a"))
      yield* writer.release([2])
      assert.isUndefined(yield* refusal(other, directory, "u"))
    })
  )

  it.live("conflict in download folders that are inside each other, whichever is first", () =>
    Effect.gen(function* () {
      const outer = yield* temporaryFolder
      const inner = Path.join(outer, "t", "sub")
      const [one, other] = [NodeWriterLocks.makeProcess(), NodeWriterLocks.makeProcess()]

      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* take(one, outer, "t/sub/a", "t/sub/new/b")
          assert.isDefined(yield* refusal(other, inner, "a"))
          assert.isDefined(yield* refusal(other, Path.join(inner, "new"), "b"))
          assert.isUndefined(yield* refusal(other, Path.join(outer, "u"), "a"))
        })
      )
      yield* take(other, inner, "a")
      const why = yield* refusal(one, outer, "x", "t/sub/a")
      assert.include(why, "writes a")
      assert.isUndefined(yield* refusal(one, outer, "x", "t/a"))
    })
  )

  it.live("conflict in an inner download folder that is made while the outer one is being locked", () =>
    Effect.gen(function* () {
      const outer = yield* temporaryFolder
      const inner = Path.join(outer, "t")
      const scope = yield* Effect.scope
      const { realpath } = NodeLockSystem.nodeLockSystem
      // What is missing is made, and locked, right after somebody has looked.
      const takeInner = Scope.provide(take(NodeWriterLocks.makeProcess(), inner, "a"), scope)
      const one = NodeWriterLocks.makeProcess({
        ...NodeLockSystem.nodeLockSystem,
        realpath: (path) =>
          path === inner && !NFS.existsSync(inner)
            ? Effect.tapError(realpath(path), () => Effect.orDie(takeInner))
            : realpath(path)
      })

      assert.include(yield* refusal(one, outer, "t/a"), "writes a")
    })
  )

  it.live("conflict at the place that a link leads to", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      NFS.mkdirSync(Path.join(directory, "real"))
      NFS.symlinkSync("real", Path.join(directory, "link"))
      yield* take(NodeWriterLocks.makeProcess(), directory, "link/a")

      assert.isDefined(yield* refusal(NodeWriterLocks.makeProcess(), directory, "real/a"))
    })
  )

  it.live("conflict in a folder whose path is too long for a socket", () =>
    Effect.gen(function* () {
      const directory = Path.join(yield* temporaryFolder, "long".repeat(60), "longer".repeat(40))
      const before = descriptors()
      yield* take(NodeWriterLocks.makeProcess(), directory, "a")

      assert.strictEqual(descriptors(), before + 1)
      assert.isDefined(yield* refusal(NodeWriterLocks.makeProcess(), directory, "a"))
      assert.strictEqual(descriptors(), before + 1)
    })
  )

  it.live("never use an id again, and name no beacon that does not listen", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const bound: Array<string> = []
      const shown: Array<string> = []
      const { link, listen, rename } = NodeLockSystem.nodeLockSystem
      const own = NodeWriterLocks.makeProcess({
        ...NodeLockSystem.nodeLockSystem,
        listen: (folder, name) => {
          bound.push(name)
          return listen(folder, name)
        },
        link: (from, to) => {
          shown.push(Path.basename(to))
          return link(from, to)
        },
        rename: (from, to) => {
          shown.push(Path.basename(to))
          return rename(from, to)
        }
      })
      yield* take(own, Path.join(directory, "kept"), "a")
      for (let round = 0; round < 3; round++) yield* Effect.scoped(take(own, directory, "a"))
      yield* take(own, Path.join(directory, "kept", "other"), "a")

      assert.lengthOf(bound, 1)
      assert.match(bound[0]!, /\.new$/)
      assert.lengthOf(new Set(shown), 5)
    })
  )

  it.live("publish their entries again if the folder of locks is removed", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const [one, other] = [NodeWriterLocks.makeProcess(), NodeWriterLocks.makeProcess()]
      yield* take(one, directory, "a")
      NFS.rmSync(Path.join(directory, LockNames.folder[0]), { recursive: true })
      yield* take(one, directory, "b")

      assert.isDefined(yield* refusal(other, directory, "a"))
      assert.isDefined(yield* refusal(other, directory, "b"))
    })
  )

  it.live("leave an entry of another machine, and name it", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const place = Path.join(directory, ...LockNames.folder)
      NFS.mkdirSync(place, { recursive: true })
      const { idOf, keyOf, marksOf } = LockNames
      const { sha256 } = NodeLockSystem
      const id = idOf(marksOf("another machine", "another start", sha256), "0".repeat(16))
      const entry = Path.join(place, `${keyOf("a", sha256)}.${id}`)
      NFS.writeFileSync(entry, "process 1 on\u001b[31m\nelsewhere: x\n")
      const own = NodeWriterLocks.makeProcess()

      const held = yield* Effect.flip(take(own, directory, "a"))
      assert.instanceOf(held, WriterHeld)
      assert.strictEqual(held.holder, "process 1 on [31m elsewhere: x")
      assert.include(held.message, `on another machine. If that process has ended, delete ${entry}`)
      assert.isTrue(NFS.existsSync(entry))
      NFS.unlinkSync(entry)
      assert.isUndefined(yield* refusal(own, directory, "a"))
    })
  )

  it.live("take over locks from before a restart of the machine", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const place = Path.join(directory, ...LockNames.folder)
      NFS.mkdirSync(place, { recursive: true })
      const { machine } = yield* NodeLockSystem.nodeLockSystem.marks
      const id = LockNames.idOf({ machine, boot: "abcdefabcdef" }, "0".repeat(16))
      NFS.writeFileSync(Path.join(place, `${LockNames.keyOf("a", NodeLockSystem.sha256)}.${id}`), "")
      NFS.writeFileSync(Path.join(place, `${id}.sock`), "")

      assert.isUndefined(yield* refusal(NodeWriterLocks.makeProcess(), directory, "a"))
      assert.deepStrictEqual(NFS.readdirSync(directory), [])
    })
  )

  it.live("do not wait for a pipe in the place of an entry", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      yield* take(NodeWriterLocks.makeProcess(), directory, "a")
      const name = locksOf(directory).find((found) => LockNames.parse(found)?._tag === "Entry")!
      const entry = Path.join(directory, ...LockNames.folder, name)
      NFS.unlinkSync(entry)
      ChildProcess.execFileSync("mkfifo", [entry])

      const why = yield* refusal(NodeWriterLocks.makeProcess(), directory, "a")

      assert.strictEqual(why, `${Path.join(directory, "a")} is being written by another process`)
    })
  )
})

describe("a folder that cannot have locks", () => {
  it.live("is warned of once, and written to; entries of others still count there", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const messages: Array<unknown> = []
      const logger = Logger.make(({ message }) => void messages.push(message))
      const deny = () => Effect.fail({ code: "EPERM", message: "EPERM: injected" })
      const own = NodeWriterLocks.makeProcess({ ...NodeLockSystem.nodeLockSystem, listen: deny })

      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* take(own, directory, "a")
          yield* take(own, directory, "b")
          assert.isDefined(yield* refusal(own, directory, "a"))
        })
      ).pipe(Effect.provide(Logger.layer([logger])))
      assert.lengthOf(messages, 1)
      assert.match(String(messages[0]), /cannot have locks \(EPERM\)/)
      assert.deepStrictEqual(NFS.readdirSync(directory), [])

      yield* take(NodeWriterLocks.makeProcess(), directory, "a")
      assert.isDefined(yield* refusal(own, directory, "a"))
    })
  )

  it.live("is one where a socket does not answer", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const own = NodeWriterLocks.makeProcess({
        ...NodeLockSystem.nodeLockSystem,
        answers: () => Effect.succeed(false)
      })
      const before = descriptors()
      yield* take(own, directory, "a")

      assert.strictEqual(descriptors(), before)
      assert.deepStrictEqual(locksOf(directory), [])
    }).pipe(Effect.provide(Logger.layer([])))
  )

  it.live("is not one in which an error may pass", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const full = () => Effect.fail({ code: "ENOSPC", message: "ENOSPC: injected" })
      const own = NodeWriterLocks.makeProcess({ ...NodeLockSystem.nodeLockSystem, create: full })

      const error = yield* Effect.flip(take(own, directory, "a"))

      assert.propertyVal(error, "code", "ENOSPC")
      assert.deepStrictEqual(NFS.readdirSync(directory), [])
    })
  )
})

const kinds: ReadonlyArray<readonly [name: string, command: ReadonlyArray<string> | undefined]> = [
  ["Node", Holders.node],
  ["the io-daemon", Holders.daemon]
]

for (const [holding, holdingCommand] of kinds) {
  for (const [asking, askingCommand] of kinds) {
    const name = `${asking} while ${holding} holds`
    if (holdingCommand === undefined || askingCommand === undefined) {
      if (CI !== "true") it.skip(`${name}: the example is not built (cargo build --examples in native-host)`, () => {})
      else it(name, () => assert.fail("the example writer_locks is not built"))
      continue
    }
    describe(name, () => {
      const ask = (directory: string, ...paths: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          const { end, said } = yield* Holders.start(askingCommand, directory, ...paths)
          yield* end
          return said
        }).pipe(Effect.scoped)

      it.live("is refused until the holder ends", () =>
        Effect.gen(function* () {
          const directory = yield* temporaryFolder
          NFS.mkdirSync(Path.join(directory, "t"))
          const holder = yield* Holders.start(holdingCommand, directory, "t/a")
          assert.strictEqual(holder.said, "held")

          const self = `process ${holder.pid} on ${OS.hostname()}`
          assert.include(yield* ask(directory, "T/b"), `is being written by ${self}: held by`)
          assert.include(yield* ask(Path.join(directory, "t"), "a"), self)
          yield* holder.end
          assert.strictEqual(yield* ask(directory, "t/b"), "held")
          assert.deepStrictEqual(NFS.readdirSync(directory), ["t"])
        })
      )

      it.live("is refused by a stopped holder, and not by a killed one, even at the end of a long path", () =>
        Effect.gen(function* () {
          const directory = Path.join(yield* temporaryFolder, "long".repeat(60))
          NFS.mkdirSync(directory)
          const holder = yield* Holders.start(holdingCommand, directory, "a")
          holder.kill("SIGSTOP")
          assert.include(yield* ask(directory, "a"), "is being written by")
          holder.kill("SIGKILL")
          yield* holder.end
          assert.isNotEmpty(locksOf(directory))

          assert.strictEqual(yield* ask(directory, "a"), "held")
          assert.deepStrictEqual(NFS.readdirSync(directory), [])
        })
      )

      // One kind alone would show nothing that the two together do not.
      if (holding === asking) return
      const isolated = mayIsolate ? it.live : it.live.skip
      isolated(`is refused in another network namespace${mayIsolate ? "" : " (needs the rights of root)"}`, () =>
        Effect.gen(function* () {
          const directory = yield* temporaryFolder
          yield* Holders.start(["unshare", "--net", ...holdingCommand], directory, "a")

          assert.include(yield* ask(directory, "a"), "is being written by")
        })
      )
    })
  }
}
