/**
 * A database of schema 1, as the first version of the store has written it: made by the first migration alone, and filled
 * with the statements and the texts of that version. Without a test runner, because programs use it too.
 */
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import * as NodeSqlite from "../../src/session/provider/node/NodeSqlite.ts"
import * as SessionMigrations from "../../src/session/provider/node/SessionMigrations.ts"

/** Torrents of schema 1. Position 1 to 3; the third is a magnet link. */
const rows = [
  {
    info_hash: new Uint8Array(20).fill(1),
    position: 1,
    name: "it's a film",
    wanted: '{"_tag":"Running"}',
    labels: '["films","new"]',
    options: '{"folder":"/srv/films","goal":{"ratio":1.5,"time":{"_tag":"Millis","value":5000}}}',
    added_at_millis: 1_700_000_000_000,
    completed_at_millis: 1_700_000_000_001,
    total_bytes: 9,
    wanted_bytes: 8,
    missing_bytes: 0,
    downloaded_bytes: 7,
    uploaded_bytes: 6,
    seeding_millis: 5
  },
  {
    info_hash: new Uint8Array(20).fill(2),
    position: 1.5,
    name: "",
    wanted: '{"_tag":"Failed","error":"piecewise/ContentExists","message":"It is there."}',
    labels: "[]",
    options: "{}",
    added_at_millis: 1,
    completed_at_millis: null,
    total_bytes: null,
    wanted_bytes: null,
    missing_bytes: null,
    downloaded_bytes: 0,
    uploaded_bytes: 0,
    seeding_millis: 0
  },
  {
    info_hash: new Uint8Array(20).fill(3),
    position: 3,
    name: "c",
    wanted: '{"_tag":"Removing","data":true}',
    labels: "[]",
    options: '{"order":"sequential","webSeeds":false}',
    added_at_millis: 2,
    completed_at_millis: null,
    total_bytes: null,
    wanted_bytes: null,
    missing_bytes: null,
    downloaded_bytes: 0,
    uploaded_bytes: 0,
    seeding_millis: 0
  }
]

/** The columns of a torrent. */
export const columns: ReadonlyArray<string> = Object.keys(rows[0]!)

const contents = [
  {
    info_hash: new Uint8Array(20).fill(1),
    metainfo: Uint8Array.from([1, 2]),
    magnet: null,
    files: '{"priorities":["skip","high"],"renamed":[{"file":1,"path":["a","b"]}],"renaming":{"file":0,"path":["c"]}}'
  },
  { info_hash: new Uint8Array(20).fill(2), metainfo: Uint8Array.from([]), magnet: null, files: '{"renamed":[]}' },
  { info_hash: new Uint8Array(20).fill(3), metainfo: null, magnet: "magnet:?xt=1", files: '{"renamed":[]}' }
]

/** Makes the database. */
export const make = (file: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const sql = yield* NodeSqlite.make({ file })
      yield* sql`PRAGMA journal_mode = WAL`
      const first = SessionMigrations.run(0, SessionMigrations.all.slice(0, 1))
      yield* Effect.provideService(first, SqlClient.SqlClient, sql)
      for (const row of rows) yield* sql`INSERT INTO torrents ${sql.insert(row)}`
      for (const row of contents) yield* sql`INSERT INTO contents ${sql.insert(row)}`
      yield* sql`INSERT INTO labels (name, label) VALUES ('films', '{"name":"films","folder":"/srv/films"}')`
      yield* sql`INSERT INTO settings (name, value) VALUES ('queue limits', '{"downloads":3,"seeds":0}')`
    })
  )

/** Everything in a database, without what later schemas have added. */
export const read = (file: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const sql = yield* NodeSqlite.make({ file })
      const plain = (found: ReadonlyArray<object>) => found.map((row) => ({ ...row }))
      return {
        torrents: plain(yield* sql.unsafe(`SELECT ${columns.join(", ")} FROM torrents ORDER BY position`)),
        contents: plain(yield* sql`SELECT info_hash, metainfo, magnet, files FROM contents ORDER BY info_hash`),
        labels: plain(yield* sql`SELECT name, label FROM labels`),
        settings: plain(yield* sql`SELECT value FROM settings`)
      }
    })
  )

/** What `read` finds in a new one. */
export const everything = {
  torrents: rows,
  contents,
  labels: [{ name: "films", label: '{"name":"films","folder":"/srv/films"}' }],
  settings: [{ value: '{"downloads":3,"seeds":0}' }]
}
