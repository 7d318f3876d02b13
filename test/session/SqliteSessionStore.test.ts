import { execFile } from "node:child_process"
import * as FileSystem from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as NodeSqlite from "../../src/session/provider/node/NodeSqlite.ts"
import * as SessionMigrations from "../../src/session/provider/node/SessionMigrations.ts"
import * as SqliteSessionStore from "../../src/session/provider/node/SqliteSessionStore.ts"
import type { StoreChange } from "../../src/session/SessionStore.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"
import { suite } from "./SessionStore.suite.ts"

const { contentOf, hashOf, torrentOf } = SessionDrawing

const folder = Effect.acquireRelease(
  Effect.sync(() => FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-session-"))),
  (path) => Effect.sync(() => FileSystem.rmSync(path, { recursive: true }))
)

/** The path of a session in a new folder. */
const newFile = Effect.map(folder, (path) => Path.join(path, "state", "session.db"))

const open = (file: string, migrations?: ReadonlyArray<SessionMigrations.Migration>) =>
  SqliteSessionStore.make({ file, patience: 0 }, migrations)

suite(
  "SQLite",
  Effect.map(newFile, (file) => open(file)),
  20
)

const add = (position: number, bytes: ReadonlyArray<number> = []): StoreChange => ({
  _tag: "AddTorrent",
  torrent: torrentOf(position),
  content: contentOf(bytes)
})

/** The names of the torrents in a session. */
const namesIn = (file: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { torrents } = yield* (yield* open(file)).load
      return torrents.map(({ name }) => name)
    })
  )

/** A session of so many torrents, closed, with a metainfo of some kilobytes each. */
const sessionOf = Effect.fnUntraced(function* (torrents: number, bytes = 3_000) {
  const file = yield* newFile
  const content = Array.from({ length: bytes }, (_, index) => index % 251)
  yield* Effect.scoped(
    Effect.flatMap(open(file), (store) =>
      store.commit(Array.from({ length: torrents }, (_, index) => add((index % 255) + 1, content)))
    )
  )
  return file
})

/** Opens and loads a session that must be refused. Returns why, and whether its file is as it was. */
const refused = Effect.fnUntraced(function* (file: string) {
  const before = FileSystem.readFileSync(file)
  const { message, reason } = yield* Effect.flip(Effect.scoped(Effect.flatMap(open(file), ({ load }) => load)))
  const left = FileSystem.readdirSync(Path.dirname(file))
  return { message, tag: reason._tag, isUntouched: before.equals(FileSystem.readFileSync(file)) && left.length === 1 }
})

/** Runs statements on a database. */
const runSql = (file: string, ...texts: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.flatMap(NodeSqlite.make({ file }), (sql) =>
      Effect.forEach(texts, (text) => sql.unsafe<Record<string, unknown>>(text))
    )
  )

describe("SqliteSessionStore", () => {
  it.live("has one owner: another one is refused until it has closed", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const scope = yield* Scope.make()
      const owner = yield* Scope.provide(open(file), scope)
      const early = yield* Effect.flip(Effect.scoped(open(file)))
      yield* owner.commit([add(1)])
      const next = yield* Effect.forkChild(
        Effect.scoped(Effect.flatMap(SqliteSessionStore.make({ file, patience: "10 seconds" }), ({ load }) => load)),
        { startImmediately: true }
      )
      yield* Effect.sleep("120 millis")
      const isWaiting = next.pollUnsafe() === undefined
      yield* Scope.close(scope, Exit.void)

      const { torrents } = yield* Fiber.join(next)

      assert.deepStrictEqual([early.operation, early.reason._tag], ["open", "StoreInUse"])
      assert.strictEqual(early.message, `${file} is in use by another process`)
      assert.isTrue(isWaiting)
      assert.strictEqual(torrents.length, 1)
    })
  )

  it.live("waits for a process that opens the same new file at the same moment", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      FileSystem.mkdirSync(Path.dirname(file))
      FileSystem.writeFileSync(file, "")
      const scope = yield* Scope.make()
      const first = yield* Scope.provide(NodeSqlite.make({ file }), scope)
      // As far as the other process is when this one begins: both can read, and neither can write.
      yield* first`PRAGMA locking_mode = EXCLUSIVE`
      yield* first`SELECT count(*) FROM sqlite_schema`
      const next = yield* Effect.forkChild(
        Effect.scoped(Effect.flatMap(SqliteSessionStore.make({ file, patience: "10 seconds" }), ({ load }) => load)),
        { startImmediately: true }
      )
      yield* Effect.sleep("120 millis")
      const isWaiting = next.pollUnsafe() === undefined
      const [mode] = yield* first`PRAGMA journal_mode = WAL`
      yield* Scope.close(scope, Exit.void)

      assert.isTrue(isWaiting)
      assert.deepStrictEqual({ ...mode }, { journal_mode: "wal" })
      assert.deepStrictEqual((yield* Fiber.join(next)).torrents, [])
    })
  )

  it.live("keeps nothing of a commit that fails, and goes on", () =>
    Effect.gen(function* () {
      const store = yield* open(yield* newFile)
      const broken = { ...torrentOf(2), infoHash: hashOf(2).subarray(1) as typeof torrentOf.prototype }
      const failed = yield* Effect.flip(
        store.commit([add(1), { _tag: "AddTorrent", torrent: broken, content: contentOf([]) }])
      )
      const after = yield* store.load
      yield* store.commit([add(3)])

      assert.deepStrictEqual([failed.operation, after.torrents], ["commit", []])
      assert.strictEqual((yield* store.load).torrents.length, 1)
    })
  )

  it.live("keeps all of a commit or nothing, wherever it is interrupted", () =>
    Effect.gen(function* () {
      const store = yield* open(yield* newFile)
      const numbers = Array.from({ length: 150 }, (_, index) => index + 1)
      const removeAll = numbers.map((number): StoreChange => ({ _tag: "RemoveTorrent", infoHash: hashOf(number) }))
      const sizes = new Set<number>()
      for (let turns = 0; turns < 25; turns++) {
        const fiber = yield* Effect.forkChild(store.commit(numbers.map((number) => add(number))))
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        sizes.add((yield* store.load).torrents.length)
        yield* store.commit(removeAll)
      }

      assert.deepStrictEqual([...sizes].sort(), [0, 150])
    })
  )

  it.live("is read by its owner only", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      yield* open(file)

      const modes = FileSystem.readdirSync(Path.dirname(file)).map(
        (name) => FileSystem.statSync(Path.join(Path.dirname(file), name)).mode & 0o777
      )

      assert.deepStrictEqual(new Set(modes), new Set([0o600]))
      assert.strictEqual(FileSystem.statSync(Path.dirname(file)).mode & 0o777, 0o700)
    })
  )

  it.live("says what keeps it from being made", () =>
    Effect.gen(function* () {
      const path = yield* folder
      FileSystem.writeFileSync(Path.join(path, "file"), "")

      const inFile = yield* Effect.flip(Effect.scoped(open(Path.join(path, "file", "session.db"))))

      assert.strictEqual(inFile.message, `${Path.join(path, "file", "session.db")}: a part of its path is not a folder`)
    })
  )
})

describe("a session in SQLite that must not be changed", () => {
  it.live("is refused if a newer version wrote it", () =>
    Effect.gen(function* () {
      const file = yield* sessionOf(1)
      yield* runSql(file, `PRAGMA user_version = ${SessionMigrations.all.length + 1}`)

      const { isUntouched, message, tag } = yield* refused(file)

      assert.deepStrictEqual([tag, isUntouched], ["StoreTooNew", true])
      assert.include(message, `has version ${SessionMigrations.all.length + 1}`)
    })
  )

  it.live("is refused if it is of another program, or no database", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const foreign = Path.join(path, "one", "foreign.db")
      const named = Path.join(path, "two", "named.db")
      const text = Path.join(path, "three", "text")
      for (const file of [foreign, named, text]) FileSystem.mkdirSync(Path.dirname(file))
      yield* runSql(foreign, "CREATE TABLE torrents (info_hash BLOB)")
      yield* runSql(named, "PRAGMA application_id = 5", "CREATE TABLE torrents (info_hash BLOB)")
      FileSystem.writeFileSync(text, "my torrents\n".repeat(100))

      const answers = yield* Effect.forEach([foreign, named, text], refused)

      assert.deepStrictEqual(
        answers.map(({ isUntouched, tag }) => [tag, isUntouched]),
        Array.from({ length: 3 }, () => ["StoreForeign", true])
      )
    })
  )

  it.live("is refused if it is damaged in what a start reads", () =>
    Effect.gen(function* () {
      const file = yield* sessionOf(200)
      const whole = FileSystem.readFileSync(file)
      const cutTo = (length: number) => whole.subarray(0, length)
      const overwritten = (page: number) => Buffer.from(whole).fill(0xa5, page * 4_096, (page + 1) * 4_096)
      const [[index]] = (yield* runSql(
        file,
        "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_torrents_1'"
      )) as [[{ rootpage: number }]]
      const damaged = [
        cutTo(4_096),
        cutTo(10_000),
        overwritten(1),
        overwritten(index.rootpage - 1),
        Buffer.from(whole).fill(0, 100, 4_096)
      ]

      for (const bytes of damaged) {
        FileSystem.writeFileSync(file, bytes)
        const { isUntouched, message, tag } = yield* refused(file)
        assert.deepStrictEqual([tag, isUntouched], ["StoreDamaged", true])
        assert.include(message, "is damaged: ")
      }
      FileSystem.writeFileSync(file, whole)
      assert.strictEqual((yield* namesIn(file)).length, 200)
    })
  )
})

describe("fault 106: a session in SQLite of which something cannot be read", () => {
  it.live("has everything else, and leaves that as it is", () =>
    Effect.gen(function* () {
      const file = yield* sessionOf(6)
      yield* Effect.scoped(
        Effect.flatMap(open(file), ({ commit }) =>
          commit([
            { _tag: "SetLabel", label: { name: "a" } },
            { _tag: "SetLabel", label: { name: "b" } },
            { _tag: "SetTrackerGoal", goal: { host: "c", goal: { ratio: 1 } } },
            { _tag: "SetTrackerGoal", goal: { host: "d", goal: { ratio: 1 } } },
            { _tag: "SetLimits", limits: { seeds: 1 } }
          ])
        )
      )
      yield* runSql(
        file,
        `UPDATE torrents SET wanted = '{"_tag":"Dreaming"}' WHERE position = 2`,
        `UPDATE torrents SET labels = 'no JSON' WHERE position = 3`,
        `UPDATE torrents SET uploaded_bytes = 9223372036854775807 WHERE position = 4`,
        `UPDATE torrents SET position = 9e999 WHERE position = 5`,
        `UPDATE labels SET label = '{"name":5}' WHERE name = 'b'`,
        `UPDATE tracker_goals SET goal = '{"ratio":-1}' WHERE host = 'd'`,
        `UPDATE settings SET value = '{"seeds":-1}'`
      )
      const everything = [
        "SELECT info_hash, wanted, labels, CAST(uploaded_bytes AS TEXT), position FROM torrents ORDER BY info_hash",
        "SELECT * FROM labels",
        "SELECT * FROM tracker_goals",
        "SELECT * FROM settings"
      ]
      const before = yield* runSql(file, ...everything)
      const session = yield* Effect.scoped(
        Effect.flatMap(open(file), (store) =>
          Effect.andThen(store.commit([{ _tag: "SetTorrent", torrent: torrentOf(1) }]), store.load)
        )
      )

      assert.deepStrictEqual(
        session.torrents.map(({ name }) => name),
        ["torrent 1", "torrent 6"]
      )
      assert.deepStrictEqual(session.labels, [{ name: "a" }])
      assert.deepStrictEqual(
        session.trackerGoals.map(({ host }) => host),
        ["c"]
      )
      assert.deepStrictEqual(session.limits, {})
      assert.deepStrictEqual(
        session.unreadable.map(({ key, what }) => [what, key]).sort(),
        [
          ...[2, 3, 4, 5].map((number) => ["torrent", InfoHash.toHex(hashOf(number))]),
          ["label", "b"],
          ["limits", ""],
          ["tracker goal", "d"]
        ].sort()
      )
      assert.isTrue(session.unreadable.every(({ why }) => why !== ""))
      assert.deepStrictEqual(yield* runSql(file, ...everything), before)
    })
  )
})

describe("the migrations of a session in SQLite", () => {
  const column = (name: string): SessionMigrations.Migration =>
    SqlClient.SqlClient.use((sql) => sql.unsafe(`ALTER TABLE labels ADD COLUMN ${name} TEXT`))
  const versionOf = (file: string) => FileSystem.readFileSync(file).readUInt32BE(60)
  const columnsOf = (file: string) =>
    Effect.map(runSql(file, "SELECT name FROM pragma_table_info('labels')"), ([rows]) =>
      rows!.map(({ name }) => String(name))
    )

  it.live("bring an older session to the latest version, and keep what it has", () =>
    Effect.gen(function* () {
      const file = yield* sessionOf(3)
      const before = versionOf(file)
      const torrents = yield* Effect.scoped(
        Effect.flatMap(open(file, [...SessionMigrations.all, column("one"), column("two")]), ({ load }) => load)
      )

      assert.strictEqual(torrents.torrents.length, 3)
      assert.deepStrictEqual(
        [before, versionOf(file)],
        [SessionMigrations.all.length, SessionMigrations.all.length + 2]
      )
      assert.deepStrictEqual(yield* columnsOf(file), ["name", "label", "one", "two"])
    })
  )

  it.live("are made one by one: what precedes a failed one stays, and nothing of itself", () =>
    Effect.gen(function* () {
      const file = yield* sessionOf(3)
      const half = Effect.andThen(column("two"), column("one"))
      const latest = [...SessionMigrations.all, column("one"), half]
      const failed = yield* Effect.flip(Effect.scoped(open(file, latest)))
      const columns = yield* columnsOf(file)
      const mended = yield* Effect.scoped(
        Effect.flatMap(open(file, [...latest.slice(0, -1), column("two")]), ({ load }) => load)
      )

      assert.deepStrictEqual([failed.operation, failed.reason._tag], ["open", "StoreUnavailable"])
      assert.deepStrictEqual(columns, ["name", "label", "one"])
      assert.strictEqual(mended.torrents.length, 3)
      assert.deepStrictEqual(yield* columnsOf(file), ["name", "label", "one", "two"])
    })
  )
})

describe("NodeSqlite", () => {
  it.live("prints no warning that node:sqlite is experimental, and keeps others", () =>
    Effect.gen(function* () {
      const module = Path.join(import.meta.dirname, "../../src/session/provider/node/NodeSqlite.ts")
      const code = `
        import * as Effect from ${JSON.stringify(import.meta.resolve("effect/Effect"))}
        import * as NodeSqlite from ${JSON.stringify(module)}
        // As Node 22 does when it loads the module.
        const { getBuiltinModule } = process
        process.getBuiltinModule = (name) => {
          process.emitWarning("SQLite is an experimental feature and might change at any time", "ExperimentalWarning")
          process.emitWarning("something else")
          return getBuiltinModule(name)
        }
        await Effect.runPromise(Effect.scoped(NodeSqlite.make({ file: ":memory:" })))`
      const args = ["--input-type=module", "--eval", code]

      const { stderr } = yield* Effect.promise(() => promisify(execFile)(process.execPath, args))

      assert.include(stderr, "Warning: something else")
      assert.notInclude(stderr, "SQLite")
    })
  )
})
