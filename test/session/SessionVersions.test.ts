import * as FileSystem from "node:fs"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import * as NodeSqlite from "../../src/session/provider/node/NodeSqlite.ts"
import * as SessionMigrations from "../../src/session/provider/node/SessionMigrations.ts"
import * as SqliteSessionStore from "../../src/session/provider/node/SqliteSessionStore.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"

const { drawContent, drawSession, hashOf } = SessionDrawing

const fixtures = Path.join(import.meta.dirname, "../fixtures/sessions")

/** The statements that make a database of a version, with all that this version could keep. */
const statementsOf = (version: number): string =>
  FileSystem.readFileSync(Path.join(fixtures, `schema-${version}.sql`), "utf8")

const latest = SessionMigrations.all.length
const versions = Array.from({ length: latest }, (_, index) => index + 1)

const newFile = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => FileSystem.mkdtempSync(Path.join(OperatingSystem.tmpdir(), "piecewise-versions-"))),
    (folder) => Effect.sync(() => FileSystem.rmSync(folder, { recursive: true }))
  ),
  (folder) => Path.join(folder, "session.db")
)

/** A database of a version. */
const databaseOf = (version: number) =>
  Effect.tap(newFile, (file) =>
    Effect.sync(() => {
      const database = new DatabaseSync(file)
      database.exec(statementsOf(version))
      database.close()
    })
  )

/** The columns of all tables of a database. */
const columnsOf = (file: string) => {
  const database = new DatabaseSync(file)
  const sql = `SELECT t.name AS "table", c.* FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid`
  const found = database.prepare(sql).all()
  database.close()
  return found.map((column) => ({ ...column }))
}

describe("a session of an earlier version", () => {
  it("has a fixture of each version, and of no other", () => {
    const names = FileSystem.readdirSync(fixtures).filter((name) => name.endsWith(".sql"))

    assert.deepStrictEqual(
      names.sort(),
      versions.map((version) => `schema-${version}.sql`)
    )
  })

  it.live.each(versions)("is opened with everything in it: version %i", (version) =>
    Effect.gen(function* () {
      const file = yield* databaseOf(version)
      const found = yield* Effect.scoped(
        Effect.gen(function* () {
          const store = yield* SqliteSessionStore.make({ file })
          const loaded = yield* store.load
          assert.deepStrictEqual(loaded.unreadable, [])
          const contents = yield* Effect.forEach([1, 2, 3], (number) => store.content(hashOf(number)))
          return { session: drawSession(loaded), contents: contents.map(drawContent) }
        })
      )
      const empty = yield* newFile
      yield* Effect.scoped(SqliteSessionStore.make({ file: empty }))

      const record = Path.join(fixtures, `schema-${version}.json`)
      assert.isTrue(FileSystem.existsSync(record))
      yield* Effect.promise(() => expect(`${JSON.stringify(found, undefined, 2)}\n`).toMatchFileSnapshot(record))
      assert.deepStrictEqual(columnsOf(file), columnsOf(empty))
    })
  )

  // A change that was released is never edited.
  it.live.each(versions)("has the schema that the migrations make: version %i", (version) =>
    Effect.gen(function* () {
      const file = yield* newFile
      yield* Effect.scoped(
        Effect.flatMap(NodeSqlite.make({ file }), (sql) =>
          Effect.provideService(
            SessionMigrations.run(0, SessionMigrations.all.slice(0, version)),
            SqlClient.SqlClient,
            sql
          )
        )
      )

      assert.deepStrictEqual(columnsOf(file), columnsOf(yield* databaseOf(version)))
    })
  )

  it.live("is refused and stays as it is if it is of a later version", () =>
    Effect.gen(function* () {
      const file = yield* databaseOf(latest)
      const database = new DatabaseSync(file)
      database.exec(`PRAGMA user_version = ${latest + 1}`)
      database.close()
      const before = FileSystem.readFileSync(file)
      const error = yield* Effect.flip(Effect.scoped(SqliteSessionStore.make({ file })))

      assert.deepStrictEqual({ ...error.reason }, {
        _tag: "StoreTooNew",
        path: file,
        version: latest + 1,
        latest
      } as never)
      assert.isTrue(before.equals(FileSystem.readFileSync(file)))
    })
  )
})
