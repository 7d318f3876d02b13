import * as FileSystem from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import * as NodeSqlite from "../../src/session/provider/node/NodeSqlite.ts"
import * as SessionBackup from "../../src/session/provider/node/SessionBackup.ts"
import * as SessionMigrations from "../../src/session/provider/node/SessionMigrations.ts"
import * as SqliteSessionStore from "../../src/session/provider/node/SqliteSessionStore.ts"
import { SessionCopy } from "../../src/session/SessionCopy.ts"
import { SessionStore, type StoreChange } from "../../src/session/SessionStore.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"
import * as SchemaOne from "./schemaOne.ts"

const { contentOf, torrentOf } = SessionDrawing

const folder = Effect.acquireRelease(
  Effect.sync(() => FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-backup-"))),
  (path) => Effect.sync(() => FileSystem.rmSync(path, { recursive: true }))
)

const add = (position: number): StoreChange => ({
  _tag: "AddTorrent",
  torrent: torrentOf(position),
  content: contentOf(Array.from({ length: 20_000 }, (_, index) => index % 251))
})

const resumeOf = (byte: number) => `${byte.toString(16).padStart(2, "0").repeat(20)}.resume`

/** A folder with a session of 50 torrents that no process uses, and resume data. Where everything is. */
const rest = Effect.gen(function* () {
  const base = yield* folder
  const [database, resume, file] = ["session.db", "resume", "backup"].map((name) => Path.join(base, name)) as [
    string,
    string,
    string
  ]
  yield* Effect.scoped(
    Effect.flatMap(SqliteSessionStore.make({ file: database }), ({ commit }) =>
      commit(Array.from({ length: 50 }, (_, index) => add(index + 1)))
    )
  )
  FileSystem.mkdirSync(resume)
  FileSystem.writeFileSync(Path.join(resume, resumeOf(1)), "resume data")
  FileSystem.writeFileSync(Path.join(resume, `${resumeOf(2)}.tmp`), "half of it")
  FileSystem.writeFileSync(Path.join(resume, "dht.json"), "{}")
  return { base, database, resume, file }
})

/** Makes a change in a database. */
const edit = <E>(file: string, change: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, E>) =>
  Effect.scoped(Effect.flatMap(NodeSqlite.make({ file }), change))

const torrentsIn = (database: string) =>
  Effect.scoped(
    Effect.flatMap(SqliteSessionStore.make({ file: database }), ({ load }) =>
      Effect.map(load, ({ torrents }) => torrents.map(({ name }) => name))
    )
  )

/** Restores a backup to a new folder, and returns where, and why it failed if it did. */
const restore = Effect.fnUntraced(function* (file: string) {
  const base = yield* folder
  const target = { database: Path.join(base, "session.db"), resume: Path.join(base, "resume") }
  const why = yield* Effect.match(SessionBackup.restore(file, target), {
    onFailure: ({ message }) => message,
    onSuccess: () => undefined
  })
  return { base, why, ...target }
})

describe("SessionBackup", () => {
  it.live("has the session and the resume data, and nothing else", () =>
    Effect.gen(function* () {
      const { database, file, resume } = yield* rest
      yield* SessionBackup.ofFile(file, resume, database)
      const contents = yield* SessionBackup.verify(file)
      const restored = yield* restore(file)

      assert.deepStrictEqual(contents, { torrents: 50, version: SessionMigrations.all.length })
      assert.deepStrictEqual(yield* torrentsIn(restored.database), yield* torrentsIn(database))
      assert.deepStrictEqual(FileSystem.readdirSync(restored.resume), [resumeOf(1)])
      assert.strictEqual(FileSystem.readFileSync(Path.join(restored.resume, resumeOf(1)), "utf8"), "resume data")
      assert.deepStrictEqual(FileSystem.readdirSync(restored.base).sort(), ["resume", "session.db"])
    })
  )

  it.live("is of one moment, also while the session is changed", () =>
    Effect.gen(function* () {
      const { database, file, resume } = yield* rest
      const found = yield* Effect.gen(function* () {
        const { commit } = yield* SessionStore
        const session = yield* SessionCopy
        // Each commit adds two torrents. They come while pages are copied.
        const pairs = Array.from({ length: 40 }, (_, index) => [101 + 2 * index, 102 + 2 * index] as const)
        const committing = Effect.forEach(pairs, (pair) => Effect.andThen(commit(pair.map(add)), Effect.yieldNow))
        const copying = Effect.andThen(Effect.sleep("5 millis"), SessionBackup.make(file, resume, session.to))
        yield* Effect.all([committing, copying], { concurrency: "unbounded" })
        return (yield* SessionBackup.verify(file)).torrents
      }).pipe(Effect.provide(SqliteSessionStore.layer({ file: database })))

      assert.strictEqual(found % 2, 0)
      assert.isAtLeast(found, 50)
      assert.isAtMost(found, 130)
      assert.strictEqual((yield* torrentsIn(database)).length, 130)
    })
  )

  it.live("leaves the database of an earlier version as it is, and the restored one is brought up to date", () =>
    Effect.gen(function* () {
      const base = yield* folder
      const [database, file] = [Path.join(base, "session.db"), Path.join(base, "backup")] as const
      yield* SchemaOne.make(database)
      yield* SessionBackup.ofFile(file, Path.join(base, "resume"), database)
      const restored = yield* restore(file)

      assert.strictEqual(FileSystem.readFileSync(database).readUInt32BE(60), 1)
      assert.deepStrictEqual(yield* SessionBackup.verify(file), { torrents: 3, version: 1 })
      assert.strictEqual((yield* torrentsIn(restored.database)).length, 3)
    })
  )

  it.live("of a stranger writes no other file", () =>
    Effect.gen(function* () {
      const { database, file, resume } = yield* rest
      yield* SessionBackup.ofFile(file, resume, database)
      const names = ["../x", "/tmp/x", "a/b.resume", "dht.json", `../resume/${resumeOf(3)}`, `${resumeOf(4)}\0`]
      yield* edit(file, (sql) =>
        Effect.forEach(
          names,
          (name) => sql`INSERT INTO resume_files ${sql.insert({ name, content: new Uint8Array(1) })}`
        )
      )
      const { base, why } = yield* restore(file)

      assert.strictEqual(why, undefined)
      assert.deepStrictEqual(FileSystem.readdirSync(base, { recursive: true }).sort(), [
        "resume",
        `resume/${resumeOf(1)}`,
        "session.db"
      ])
    })
  )

  it.live("is refused if it is damaged, newer, or has what no backup has", () =>
    Effect.gen(function* () {
      const { base, database, file, resume } = yield* rest
      yield* SessionBackup.ofFile(file, resume, database)
      const changes: ReadonlyArray<readonly [string, (path: string) => Effect.Effect<unknown, unknown>]> = [
        ["a trigger", (path) => edit(path, (sql) => sql`CREATE TRIGGER t DELETE ON labels BEGIN SELECT 1; END`)],
        ["a view", (path) => edit(path, (sql) => sql`CREATE VIEW v AS SELECT 1`)],
        ["version 99", (path) => edit(path, (sql) => sql`PRAGMA user_version = 99`)],
        ["no session of piecewise", (path) => edit(path, (sql) => sql`PRAGMA application_id = 1`)],
        ["not a whole one", (path) => edit(path, (sql) => sql`DROP TABLE resume_files`)],
        ["", (path) => Effect.sync(() => FileSystem.truncateSync(path, 1_000_000))],
        ["no session of piecewise", (path) => Effect.sync(() => FileSystem.writeFileSync(path, "x".repeat(9_000)))]
      ]
      for (const [expected, change] of changes) {
        const copy = Path.join(base, "copy")
        FileSystem.copyFileSync(file, copy)
        yield* change(copy)
        const { base: target, why } = yield* restore(copy)

        assert.include(why, expected)
        assert.deepStrictEqual(FileSystem.readdirSync(target), [])
      }
    })
  )

  it.live("is not restored over a session or its resume data", () =>
    Effect.gen(function* () {
      const { base, database, file, resume } = yield* rest
      yield* SessionBackup.ofFile(file, resume, database)
      const { message } = yield* Effect.flip(
        SessionBackup.restore(file, { database: Path.join(base, "other"), resume })
      )

      assert.strictEqual(message, `${resume} cannot be used: a file is in the way`)
      assert.deepStrictEqual(FileSystem.readdirSync(base).sort(), ["backup", "resume", "session.db"])
      assert.strictEqual(FileSystem.readdirSync(resume).length, 3)
    })
  )

  it.live("is not made while another process has the session, nor over another file", () =>
    Effect.gen(function* () {
      const { base, database, file, resume } = yield* rest
      FileSystem.writeFileSync(file, "mine")
      const taken = yield* Effect.flip(SessionBackup.ofFile(file, resume, database))
      yield* SqliteSessionStore.make({ file: database })
      const used = yield* Effect.flip(SessionBackup.ofFile(Path.join(base, "b"), resume, database))

      assert.strictEqual(taken.message, `${file} cannot be used: a file is in the way`)
      assert.strictEqual(FileSystem.readFileSync(file, "utf8"), "mine")
      assert.strictEqual(used.message, `${database} cannot be used: another process uses it`)
      assert.isFalse(FileSystem.existsSync(Path.join(base, "b")))
    })
  )
})
