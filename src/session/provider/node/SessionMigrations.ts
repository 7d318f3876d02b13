/**
 * The schema of a session in SQLite, as the changes that made it, and how a database is brought to the latest one.
 *
 * The version of a database is how many of the changes were made in it. SQLite has a place for it in every database
 * (`PRAGMA user_version`). Each change is made in one transaction with the new version, so a kill leaves the version
 * before or the version after. A change that was released is never edited: a new one follows it.
 */
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/** A change of the schema. */
export type Migration = Effect.Effect<unknown, SqlError, SqlClient.SqlClient>

/** `PWSS` in ASCII: what `PRAGMA application_id` says of a session of piecewise. */
export const applicationId = 0x50_57_53_53

const statements = (...texts: ReadonlyArray<string>): Migration =>
  SqlClient.SqlClient.use((sql) => Effect.forEach(texts, (text) => sql.unsafe(text), { discard: true }))

/** All changes, the first one first. Columns named after a schema of `SavedTorrent.ts` have its JSON. */
export const all: ReadonlyArray<Migration> = [
  statements(
    `CREATE TABLE torrents (
      info_hash BLOB NOT NULL PRIMARY KEY CHECK (length(info_hash) = 20),
      position REAL NOT NULL,
      name TEXT NOT NULL,
      wanted TEXT NOT NULL,
      labels TEXT NOT NULL,
      options TEXT NOT NULL,
      added_at_millis INTEGER NOT NULL,
      completed_at_millis INTEGER,
      total_bytes INTEGER,
      wanted_bytes INTEGER,
      missing_bytes INTEGER,
      downloaded_bytes INTEGER NOT NULL,
      uploaded_bytes INTEGER NOT NULL,
      seeding_millis INTEGER NOT NULL
    ) STRICT`,
    // Apart from the torrents, so that a start reads none of it.
    `CREATE TABLE contents (
      info_hash BLOB NOT NULL PRIMARY KEY REFERENCES torrents ON DELETE CASCADE,
      metainfo BLOB,
      magnet TEXT,
      files TEXT NOT NULL,
      CHECK ((metainfo IS NULL) <> (magnet IS NULL))
    ) STRICT`,
    `CREATE TABLE labels (name TEXT NOT NULL PRIMARY KEY, label TEXT NOT NULL) STRICT`,
    `CREATE TABLE settings (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT`
  ),
  statements(
    // `NULL`: not known yet.
    `ALTER TABLE torrents ADD COLUMN tracker_hosts TEXT`,
    `CREATE TABLE tracker_goals (host TEXT NOT NULL PRIMARY KEY, goal TEXT NOT NULL) STRICT`,
    // They are limits of rates too.
    `UPDATE settings SET name = 'limits' WHERE name = 'queue limits'`
  ),
  statements(
    `ALTER TABLE torrents ADD COLUMN is_completion_due INTEGER NOT NULL DEFAULT 0`,
    `ALTER TABLE torrents ADD COLUMN hinted_bytes INTEGER`
  )
]

/** Whether a database is a session of piecewise, which version it has, and whether anything is in it. */
export const describe = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const [application] = yield* sql<{ application_id: number }>`PRAGMA application_id`
  const [version] = yield* sql<{ user_version: number }>`PRAGMA user_version`
  const [tables] = yield* sql<{ count: number }>`SELECT count(*) AS count FROM sqlite_schema`
  return {
    isOurs: application!.application_id === applicationId,
    version: version!.user_version,
    isEmpty: tables!.count === 0
  }
})

/** Makes the changes after `version`. */
export const run = Effect.fnUntraced(function* (version: number, migrations: ReadonlyArray<Migration> = all) {
  const sql = yield* SqlClient.SqlClient
  for (let next = version; next < migrations.length; next++) {
    yield* sql.withTransaction(
      Effect.gen(function* () {
        yield* migrations[next]!
        yield* sql.unsafe(`PRAGMA application_id = ${applicationId}`)
        yield* sql.unsafe(`PRAGMA user_version = ${next + 1}`)
      })
    )
  }
})
