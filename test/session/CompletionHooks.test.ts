import * as FileSystem from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as CompletionHooks from "../../src/session/CompletionHooks.ts"
import * as Session from "../../src/session/Session.ts"
import type { SessionStatus } from "../../src/session/SessionStatus.ts"
import { SessionStore, SessionStoreError, StoreFull } from "../../src/session/SessionStore.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"
import * as TestEngine from "../../src/testing/TestEngine.ts"
import { other, small } from "../simulation/torrents.ts"
import { fileOf, session, test, until } from "./sessions.ts"

const { hashOf, torrentOf } = SessionDrawing

/** Runs hooks for torrents that are complete. Returns what they have logged, in order. */
const runHooks = Effect.fnUntraced(function* (
  hooks: ReadonlyArray<CompletionHooks.Hook>,
  torrents: ReadonlyArray<Partial<SessionStatus>>,
  options: Partial<CompletionHooks.Options> = {}
) {
  const logs: Array<string> = []
  const logger = Logger.make(({ message }) => {
    logs.push(JSON.stringify(message))
  })
  const ended = yield* Deferred.make<void>()
  const statuses = torrents.map((parts, index) => ({ ...torrentOf(index + 1), ...parts }) as unknown as SessionStatus)
  const completing = Layer.mock(Session.Session, {
    onCompleted: (use) =>
      Effect.forEach(statuses, use, { concurrency: "unbounded", discard: true }).pipe(
        Effect.andThen(Deferred.succeed(ended, undefined)),
        Effect.forkScoped,
        Effect.asVoid
      )
  })
  const layer = CompletionHooks.layer({ hooks, directory: "/downloads", ...options }).pipe(
    Layer.provide([completing, NodeServices.layer, Logger.layer([logger])])
  )
  yield* Layer.build(layer)
  yield* Deferred.await(ended)
  return logs
})

const folder = Effect.acquireRelease(
  Effect.sync(() => FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-hooks-"))),
  (path) => Effect.sync(() => FileSystem.rmSync(path, { recursive: true }))
)

/** A hook that runs a script of Node, with arguments. */
const node = (script: string, ...args: ReadonlyArray<string>): CompletionHooks.Hook => ({
  command: process.execPath,
  args: ["-e", script, ...args]
})

describe("fault 108: CompletionHooks", () => {
  it.live("tell a command of the torrent in its environment, and change nothing of its arguments", () =>
    Effect.gen(function* () {
      const file = Path.join(yield* folder, "out")
      const script = `require("fs").writeFileSync(process.argv[1], JSON.stringify([process.argv.slice(2),
        ["INFO_HASH", "NAME", "FOLDER", "LABELS"].map((name) => process.env["PIECEWISE_" + name]),
        process.env.PATH !== undefined, process.env.PIECEWISE_IO_DAEMON_TOKEN, process.env.PIECEWISE_SERVICE_TOKEN]))`
      const secrets = ["PIECEWISE_IO_DAEMON_TOKEN", "PIECEWISE_SERVICE_TOKEN"]
      for (const secret of secrets) process.env[secret] = "secret"
      const name = "$(touch x); `id` \"'; --help\n%PATH%"
      const hook = node(script, file, "$PIECEWISE_NAME", "a b")
      const logs = yield* runHooks([hook], [{ name, labels: ["films", "a, b"], options: { folder: "new" } }])
      for (const secret of secrets) delete process.env[secret]

      assert.deepStrictEqual(JSON.parse(FileSystem.readFileSync(file, "utf8")), [
        ["$PIECEWISE_NAME", "a b"],
        [InfoHash.toHex(hashOf(1)), name, "/downloads/new", "films\na, b"],
        true,
        null,
        null
      ])
      assert.include(logs.join(), "a completion hook has ended")
    })
  )

  it.live("log how a command has failed, with the end of what it has said, and run the next one", () =>
    Effect.gen(function* () {
      const loud = node(`process.stderr.write("x".repeat(100_000) + "the end", () => process.exit(3))`)
      const logs = yield* runHooks([loud, { command: "/no/such/command" }, node("")], [{ name: "a\0b" }])

      assert.strictEqual(logs.length, 3)
      assert.match(logs[0]!, /has failed.*the end".*"exitCode":3/)
      assert.isBelow(logs[0]!.length, 2_300)
      assert.include(logs[1]!, "could not be run")
      assert.include(logs[2]!, "has ended")
    })
  )

  it.live("run for two torrents at once, and for the others later", () =>
    Effect.gen(function* () {
      const directory = yield* folder
      const script = `const fs = require("fs"), [, folder] = process.argv
        fs.writeFileSync(folder + "/" + process.pid, "")
        const count = fs.readdirSync(folder).filter((name) => !name.startsWith("max")).length
        fs.writeFileSync(folder + "/max" + count, "")
        setTimeout(() => fs.unlinkSync(folder + "/" + process.pid), 100)`
      yield* runHooks(
        [node(script, directory)],
        Array.from({ length: 5 }, () => ({}))
      )

      const most = FileSystem.readdirSync(directory).filter((name) => name.startsWith("max"))
      assert.isTrue(
        most.every((name) => name === "max1" || name === "max2"),
        most.join()
      )
    })
  )

  it.live("end a command that takes too long, and what it has started", () =>
    Effect.gen(function* () {
      const file = Path.join(yield* folder, "pid")
      const script = `const child = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"])
        require("fs").writeFileSync(process.argv[1], String(child.pid))
        process.on("SIGTERM", () => {})
        setInterval(() => {}, 1000)`
      const logs = yield* runHooks([node(script, file)], [{}], { timeLimit: "1 second" })
      const pid = Number(FileSystem.readFileSync(file, "utf8"))

      assert.match(logs.join(), /took too long/)
      assert.throws(() => process.kill(pid, 0))
    })
  )

  it.live("run only for torrents that have one of their labels, each with its own time limit", () =>
    Effect.gen(function* () {
      const file = Path.join(yield* folder, "out")
      const script = `require("fs").appendFileSync(process.argv[1], process.argv[2] + process.env.PIECEWISE_NAME + " ")`
      const slow = node("setInterval(() => {}, 1000)")
      const logs = yield* runHooks(
        [
          { ...node(script, file, "films:"), labels: ["films", "series"] },
          { ...node(script, file, "nothing:"), labels: [] },
          { ...slow, labels: ["series"], timeLimit: "300 millis" },
          node(script, file, "all:")
        ],
        [
          { name: "a", labels: ["new", "films"] },
          { name: "b", labels: ["film"] },
          { name: "c", labels: ["series"] }
        ],
        { atOnce: 1 }
      )

      assert.strictEqual(FileSystem.readFileSync(file, "utf8"), "films:a all:a all:b films:c all:c ")
      assert.strictEqual(logs.filter((log) => log.includes("took too long")).length, 1)
    })
  )

  it.live("do nothing without a hook", () =>
    Effect.gen(function* () {
      const completing = Layer.mock(Session.Session, { onCompleted: () => Effect.die("it is used") })
      const layer = CompletionHooks.layer({ hooks: [], directory: "/" })
      yield* Layer.build(Layer.provide(layer, [completing, NodeServices.layer]))
    })
  )
})

const joinAll = TestEngine.TestEngine.use(({ join }) =>
  Effect.all([join(small, PeerBehaviour.honest), join(other, PeerBehaviour.honest)])
)

describe("whoever waits for completions of a session", () => {
  test(
    "is told once of each, not of earlier ones, and not again in the next run",
    Effect.gen(function* () {
      yield* joinAll
      const told: Array<string> = []
      const tell = ({ name, state }: SessionStatus) => Effect.sync(() => void told.push(`${name} ${state._tag}`))
      yield* session((session) =>
        Effect.gen(function* () {
          yield* until(yield* session.add(fileOf(other)), "Active Complete")
          yield* session.onCompleted(tell)
          const torrent = yield* session.add(fileOf(small))
          yield* until(torrent, "Active Complete")
          yield* torrent.recheck
          yield* torrent.pause
          yield* torrent.resume()
          yield* until(torrent, "Active Complete")
        })
      )
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.onCompleted(tell)
          yield* Effect.sleep("1 minute")
        })
      )

      assert.deepStrictEqual(told, ["known Active"])
    })
  )

  test(
    "is told again in the next run if it was interrupted, and keeps nobody else from anything",
    Effect.gen(function* () {
      yield* joinAll
      const store = yield* SessionStore
      const due = Effect.map(store.load, ({ torrents }) => torrents.map(({ isCompletionDue }) => isCompletionDue))
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.onCompleted(() => Effect.never)
          for (const known of [small, other]) yield* until(yield* session.add(fileOf(known)), "Active Complete")
          yield* Effect.sleep("1 minute")
        })
      )
      const before = yield* due
      const told: Array<string> = []
      yield* session((session) =>
        Effect.gen(function* () {
          yield* session.onCompleted(({ name }) => Effect.sync(() => void told.push(name)))
          yield* Effect.sleep("1 minute")
        })
      )

      assert.deepStrictEqual(before, [true, true])
      assert.deepStrictEqual(told, ["known", "other"])
      assert.deepStrictEqual(yield* due, [undefined, undefined])
    })
  )

  test(
    "may be somebody else later, and nobody",
    session((session) =>
      Effect.gen(function* () {
        yield* joinAll
        const told: Array<string> = []
        const first = yield* Scope.make()
        yield* Scope.provide(
          session.onCompleted(() => Effect.sync(() => void told.push("first"))),
          first
        )
        yield* Scope.close(first, Exit.void)
        yield* until(yield* session.add(fileOf(other)), "Active Complete")
        yield* session.onCompleted(() => Effect.die("a bug"))
        const torrent = yield* session.add(fileOf(small))
        yield* until(torrent, "Active Complete")
        yield* Effect.sleep("5 seconds")

        const [saved] = (yield* (yield* SessionStore).load).torrents.filter(({ name }) => name === "known")
        assert.deepStrictEqual([told, saved?.isCompletionDue], [[], undefined])
      })
    )
  )

  test(
    "is told again in the next run if it could not be saved that it was told",
    Effect.gen(function* () {
      yield* joinAll
      const store = yield* SessionStore
      const full = new SessionStoreError({ operation: "commit", reason: new StoreFull({ path: "session.db" }) })
      const told: Array<string> = []
      const failing = SessionStore.of({
        ...store,
        commit: (changes) => {
          const isEnd = changes.some(
            (change) => change._tag === "SetTorrent" && told.length === 1 && change.torrent.isCompletionDue !== true
          )
          return isEnd ? Effect.fail(full) : store.commit(changes)
        }
      })
      const run = session((session) =>
        Effect.gen(function* () {
          yield* session.onCompleted(({ name }) => Effect.sync(() => void told.push(name)))
          const { torrents } = yield* session.list
          if (torrents.length === 0) yield* session.add(fileOf(small))
          yield* until(yield* session.get(small.metainfo.infoHash), "Active Complete")
          yield* Effect.sleep("5 seconds")
        })
      )
      yield* Effect.provideService(run, SessionStore, failing)
      yield* run

      assert.deepStrictEqual(told, ["known", "known"])
    })
  )
})
