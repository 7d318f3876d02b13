/**
 * A session in a SQLite database: one file, and beside it SQLite's log (`-wal`) while it is open or after a kill.
 *
 * - `locking_mode = EXCLUSIVE`: one process has the database for as long as the store is open. The kernel releases the
 *   lock of a process that ends, however it ends. Nobody else can read the file meanwhile.
 * - `journal_mode = WAL` with `synchronous = FULL`: a commit is one flush of the log, and survives a power cut. With
 *   `NORMAL`, a power cut could bring back a torrent that somebody has removed.
 * - A file that is not a session, that is damaged, or that a newer version wrote is refused, and nothing in it is
 *   changed. If a kill has left a log beside it, SQLite moves what is in the log into the file, whoever opens it.
 *
 * Statements block the thread, for some 10 us each and for the flush at the end of a commit. So a session makes few
 * commits, and gathers what changes often.
 */
import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Bytes from "../../../base/Bytes.ts"
import type { SavedLabel, SessionLimits, TrackerGoal, Unreadable } from "../../SavedTorrent.ts"
import { SessionCopy } from "../../SessionCopy.ts"
import {
  type SavedSession,
  SessionStore,
  SessionStoreError,
  type StoreChange,
  StoreDamaged,
  StoreForeign,
  StoreFull,
  StoreInUse,
  type StoreReason,
  StoreTooNew,
  StoreUnavailable
} from "../../SessionStore.ts"
import * as NodeSqlite from "./NodeSqlite.ts"
import * as SessionMigrations from "./SessionMigrations.ts"
import * as SessionRows from "./SessionRows.ts"

export type { Migration } from "./SessionMigrations.ts"

/** Where the session is. */
export interface Options {
  /** The path of the database. It is made, with its folder, if it is missing. Only its owner can read it. */
  readonly file: string
  /** How long to wait for a process that has the session and is about to end; default 5 seconds. */
  readonly patience?: Duration.Input | undefined
}

/** How often a process that waits for another one looks whether that has ended (milliseconds, give or take a fifth). */
const retryMillis = 50

/** The name of the limits in `settings`. */
const limitsName = "limits"

/** SQLite's result codes (https://sqlite.org/rescode.html), and what they mean for a session. */
const reasonOf = (file: string, error: SqlError): StoreReason => {
  const message = NodeSqlite.messageOf(error)
  switch (NodeSqlite.resultCode(error)) {
    case 5: // SQLITE_BUSY
      return new StoreInUse({ path: file })
    case 11: // SQLITE_CORRUPT
      return new StoreDamaged({ path: file, why: message ?? "SQLite cannot read it" })
    case 13: // SQLITE_FULL
      return new StoreFull({ path: file })
    case 26: // SQLITE_NOTADB
      return new StoreForeign({ path: file })
    default:
      return new StoreUnavailable({ path: file, why: message ?? error.message })
  }
}

/** Makes an empty file, which is an empty database, unless it exists. Trackers know users by what is in a session. */
const create = (file: string): void => {
  if (NFS.existsSync(file)) return
  const folder = Path.dirname(file)
  NFS.mkdirSync(folder, { recursive: true, mode: 0o700 })
  NFS.closeSync(NFS.openSync(file, "a", 0o600))
  if (process.platform === "win32") return
  const fd = NFS.openSync(folder, "r")
  try {
    NFS.fsyncSync(fd)
  } finally {
    NFS.closeSync(fd)
  }
}

const whyNotMade = (cause: unknown): string => {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === "EACCES" || code === "EPERM") return "permission denied"
  if (code === "ENOTDIR" || code === "EEXIST") return "a part of its path is not a folder"
  return code === "EROFS" ? "the disk is read-only" : (message ?? String(cause))
}

/** Takes the database for this process, and checks that it is a session that can be read. Writes nothing. */
const take = Effect.fnUntraced(function* (file: string, sql: SqlClient.SqlClient, latest: number) {
  const asReason = Effect.mapError((error: SqlError) => reasonOf(file, error))
  yield* asReason(sql`PRAGMA locking_mode = EXCLUSIVE`)
  const { isEmpty, isOurs, version } = yield* asReason(SessionMigrations.describe(sql))
  if (!isOurs && !(isEmpty && version === 0)) return yield* Effect.fail(new StoreForeign({ path: file }))
  if (version > latest) return yield* Effect.fail(new StoreTooNew({ path: file, version, latest }))
  if (!isOurs) return 0
  // Only the table that a start reads: to check the metainfo of thousands of torrents takes seconds.
  const [first] = yield* asReason(sql<{ quick_check: string }>`PRAGMA quick_check(torrents)`)
  if (first?.quick_check !== "ok") {
    return yield* Effect.fail(new StoreDamaged({ path: file, why: first?.quick_check ?? "SQLite cannot check it" }))
  }
  return version
})

const decodeContent = Schema.decodeUnknownEffect(SessionRows.ContentRow)
const encodeGoal = Schema.encodeSync(SessionRows.GoalText)
const encodeLabel = Schema.encodeSync(SessionRows.LabelText)
const encodeLimits = Schema.encodeSync(SessionRows.LimitsText)

/** How the rows of a table are read, and what they are called. */
interface Reading<A> {
  readonly what: Unreadable["what"]
  readonly keyOf: (row: Record<string, unknown>) => string
  readonly decode: (row: unknown) => Result.Result<A, Schema.SchemaError>
}

const asTorrent: Reading<typeof SessionRows.TorrentRow.Type> = {
  what: "torrent",
  keyOf: ({ info_hash }) => (info_hash instanceof Uint8Array ? Bytes.toHex(info_hash) : ""),
  decode: Schema.decodeUnknownResult(SessionRows.TorrentRow)
}

const asLabel: Reading<{ readonly label: SavedLabel }> = {
  what: "label",
  keyOf: ({ name }) => String(name),
  decode: Schema.decodeUnknownResult(Schema.Struct({ label: SessionRows.LabelText }))
}

const asGoal: Reading<TrackerGoal> = {
  what: "tracker goal",
  keyOf: ({ host }) => String(host),
  decode: Schema.decodeUnknownResult(Schema.Struct({ host: Schema.NonEmptyString, goal: SessionRows.GoalText }))
}

const asLimits: Reading<{ readonly value: SessionLimits }> = {
  what: "limits",
  keyOf: () => "",
  decode: Schema.decodeUnknownResult(Schema.Struct({ value: SessionRows.LimitsText }))
}

/** Reads rows. Those that cannot be read go to `unreadable`: one of them must not keep a session from its torrents. */
const readRows = <A>(
  rows: ReadonlyArray<unknown>,
  { decode, keyOf, what }: Reading<A>,
  unreadable: Array<Unreadable>
): ReadonlyArray<A> =>
  rows.flatMap((row) => {
    const read = decode(row)
    if (Result.isSuccess(read)) return [read.success]
    unreadable.push({ what, key: keyOf(row as Record<string, unknown>), why: read.failure.message })
    return []
  })

/**
 * The rows of all torrents in their order. `node:sqlite` fails as a whole if a row has an integer above 2^53, so then
 * each row is read by itself.
 */
const torrentRows = (sql: SqlClient.SqlClient, unreadable: Array<Unreadable>) =>
  Effect.catchIf(
    sql`SELECT * FROM torrents ORDER BY position, info_hash`,
    (error) => NodeSqlite.resultCode(error) === undefined,
    () =>
      Effect.flatMap(
        sql<{ info_hash: Uint8Array }>`SELECT info_hash FROM torrents ORDER BY position, info_hash`,
        (hashes) =>
          Effect.map(
            Effect.forEach(hashes, ({ info_hash }) =>
              Effect.catchIf(
                sql`SELECT * FROM torrents WHERE info_hash = ${info_hash}`,
                (error) => NodeSqlite.resultCode(error) === undefined,
                (error) => {
                  const why = NodeSqlite.messageOf(error) ?? "SQLite cannot read it"
                  unreadable.push({ what: "torrent", key: Bytes.toHex(info_hash), why })
                  return Effect.succeed([])
                }
              )
            ),
            (rows) => rows.flat()
          )
      )
  )

const makeChange = (sql: SqlClient.SqlClient, change: StoreChange): Effect.Effect<unknown, SqlError> => {
  switch (change._tag) {
    case "AddTorrent": {
      const { content, torrent } = change
      const { infoHash } = torrent
      const row = {
        info_hash: infoHash,
        ...SessionRows.ofSource(content.source),
        ...SessionRows.ofFiles(content.files)
      }
      return Effect.all(
        [
          // Its content goes with it.
          sql`DELETE FROM torrents WHERE info_hash = ${infoHash}`,
          sql`INSERT INTO torrents ${sql.insert(SessionRows.ofTorrent(torrent))}`,
          sql`INSERT INTO contents ${sql.insert(row)}`
        ],
        { discard: true }
      )
    }
    case "SetTorrent": {
      const row = SessionRows.ofTorrent(change.torrent)
      return sql`UPDATE torrents SET ${sql.update(row, ["info_hash"])} WHERE info_hash = ${row.info_hash}`
    }
    case "SetStatistics": {
      const row = SessionRows.numbersOf(change.statistics, change.progress)
      return sql`UPDATE torrents SET ${sql.update(row)} WHERE info_hash = ${change.infoHash}`
    }
    case "SetTrackerHosts":
      return sql`UPDATE torrents SET ${sql.update(SessionRows.ofTrackerHosts(change.hosts))} WHERE info_hash = ${change.infoHash}`
    case "SetSource":
      return sql`UPDATE contents SET ${sql.update(SessionRows.ofSource(change.source))} WHERE info_hash = ${change.infoHash}`
    case "SetFiles":
      return sql`UPDATE contents SET ${sql.update(SessionRows.ofFiles(change.files))} WHERE info_hash = ${change.infoHash}`
    case "RemoveTorrent":
      return sql`DELETE FROM torrents WHERE info_hash = ${change.infoHash}`
    case "SetLabel": {
      const { name } = change.label
      return sql`INSERT OR REPLACE INTO labels ${sql.insert({ name, label: encodeLabel(change.label) })}`
    }
    case "RemoveLabel":
      return sql`DELETE FROM labels WHERE name = ${change.name}`
    case "SetTrackerGoal": {
      const { goal, host } = change.goal
      return sql`INSERT OR REPLACE INTO tracker_goals ${sql.insert({ host, goal: encodeGoal(goal) })}`
    }
    case "RemoveTrackerGoal":
      return sql`DELETE FROM tracker_goals WHERE host = ${change.host}`
    case "SetLimits": {
      const row = { name: limitsName, value: encodeLimits(change.limits) }
      return sql`INSERT OR REPLACE INTO settings ${sql.insert(row)}`
    }
  }
}

/** Opens the store, and what copies it, until the scope closes. */
const open = Effect.fnUntraced(function* (
  options: Options,
  migrations: ReadonlyArray<SessionMigrations.Migration>
): Effect.fn.Return<
  { readonly store: SessionStore["Service"]; readonly copy: SessionCopy["Service"] },
  SessionStoreError,
  Scope.Scope
> {
  const { file, patience = "5 seconds" } = options
  const failing =
    (operation: SessionStoreError["operation"]) =>
    <A, R>(effect: Effect.Effect<A, SqlError | StoreReason | Schema.SchemaError, R>) =>
      Effect.mapError(effect, (error) => {
        if (error._tag === "SqlError") return new SessionStoreError({ operation, reason: reasonOf(file, error) })
        if (error._tag !== "SchemaError") return new SessionStoreError({ operation, reason: error })
        return new SessionStoreError({ operation, reason: new StoreDamaged({ path: file, why: error.message }) })
      })

  const openFile = Effect.gen(function* () {
    yield* Effect.try({
      try: () => create(file),
      catch: (cause) => new StoreUnavailable({ path: file, why: whyNotMade(cause) })
    })
    const { copyTo, sql } = yield* NodeSqlite.open({ file })
    const version = yield* take(file, sql, migrations.length)
    yield* sql`PRAGMA journal_mode = WAL`
    yield* sql`PRAGMA synchronous = FULL`
    yield* Effect.provideService(SessionMigrations.run(version, migrations), SqlClient.SqlClient, sql)
    return { copyTo, sql }
  })
  // Closed before the next attempt: processes that open a new file at once can all read it, and keep each other from
  // writing to it.
  const attempt = Effect.gen(function* () {
    const scope = yield* Scope.fork(yield* Effect.scope)
    return yield* Effect.onError(Scope.provide(openFile, scope), (cause) => Scope.close(scope, Exit.failCause(cause)))
  })
  const { copyTo, sql } = yield* failing("open")(attempt).pipe(
    Effect.retry({
      while: ({ reason }) => reason._tag === "StoreInUse",
      schedule: Schedule.jittered(Schedule.spaced(retryMillis)),
      times: Math.ceil(Duration.toMillis(patience) / retryMillis)
    })
  )

  const load = Effect.gen(function* () {
    const unreadable: Array<Unreadable> = []
    const found = {
      torrents: readRows(yield* torrentRows(sql, unreadable), asTorrent, unreadable),
      labels: readRows(yield* sql`SELECT name, label FROM labels`, asLabel, unreadable),
      goals: readRows(yield* sql`SELECT host, goal FROM tracker_goals`, asGoal, unreadable),
      limits: readRows(yield* sql`SELECT value FROM settings WHERE name = ${limitsName}`, asLimits, unreadable)
    }
    const session: SavedSession = {
      torrents: found.torrents.map(SessionRows.toTorrent),
      labels: found.labels.map(({ label }) => label),
      trackerGoals: found.goals,
      limits: found.limits[0]?.value ?? {},
      unreadable
    }
    return session
  })

  const store = SessionStore.of({
    load: failing("load")(load),
    content: (infoHash) =>
      sql`SELECT metainfo, magnet, files FROM contents WHERE info_hash = ${infoHash}`.pipe(
        Effect.flatMap(([row]) =>
          row === undefined ? Effect.undefined : Effect.map(decodeContent(row), SessionRows.toContent)
        ),
        failing("content")
      ),
    commit: (changes) =>
      failing("commit")(
        sql.withTransaction(Effect.forEach(changes, (change) => makeChange(sql, change), { discard: true }))
      )
  })
  return { store, copy: SessionCopy.of({ to: (path) => failing("copy")(copyTo(path)) }) }
})

/** Opens the store until the scope closes. Tests pass their own `migrations`. */
export const make = (
  options: Options,
  migrations: ReadonlyArray<SessionMigrations.Migration> = SessionMigrations.all
): Effect.Effect<SessionStore["Service"], SessionStoreError, Scope.Scope> =>
  Effect.map(open(options, migrations), ({ store }) => store)

/**
 * Keeps a session in a database, and copies it (`SessionCopy`) while it is used. The layer fails with `SessionStoreError`
 * if another process has it, if a newer version has written it, if it is damaged, or if it cannot be read or made.
 */
export const layer = (options: Options): Layer.Layer<SessionStore | SessionCopy, SessionStoreError> =>
  Layer.effectContext(
    Effect.map(open(options, SessionMigrations.all), ({ copy, store }) =>
      Context.make(SessionStore, store).pipe(Context.add(SessionCopy, copy))
    )
  )
