/**
 * Effect's `SqlClient` over the SQLite that Node has built in (`node:sqlite`): one connection, whose calls are
 * synchronous. So it is for databases of small statements, and whoever reads much reads it in parts.
 *
 * Knows nothing of what is in the database. Sets no pragma.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlConnection from "effect/sql/SqlConnection"
import * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"

/** Which database is opened. */
export interface Options {
  /** The path of the file, which is made if it is missing. */
  readonly file: string
}

/** Statements that are kept compiled. A program with more different texts compiles some of them again. */
const maxStatements = 64

/** Node 22 warns of `node:sqlite` when it is loaded. That would be on the standard error of every command that uses it. */
const isSqliteWarning = (warning: unknown): boolean => String(warning).startsWith("SQLite is an experimental feature")

/** Loads `node:sqlite` without its warning. Synchronous, so that no other warning is lost meanwhile. */
const loadModule = (): typeof import("node:sqlite") => {
  const { emitWarning } = process
  process.emitWarning = (warning: string | Error, ...rest: ReadonlyArray<unknown>) => {
    if (!isSqliteWarning(warning)) Reflect.apply(emitWarning, process, [warning, ...rest])
  }
  try {
    return process.getBuiltinModule("node:sqlite")
  } finally {
    process.emitWarning = emitWarning
  }
}

const failed = (operation: string, cause: unknown): SqlError.SqlError => {
  // Effect looks for SQLite's number in `errno`.
  const errno = codeOf(cause)
  const message = cause instanceof Error ? cause.message : String(cause)
  return new SqlError.SqlError({
    reason: SqlError.classifySqliteError({ errno, message, cause }, { message, operation })
  })
}

/** SQLite's extended result code in an error of `node:sqlite`; `undefined` if there is none. */
const codeOf = (cause: unknown): number | undefined =>
  cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number" ? cause.errcode : undefined

/** SQLite's primary result code behind a failure, such as 5 for `SQLITE_BUSY`; `undefined` if there is none. */
export const resultCode = ({ reason }: SqlError.SqlError): number | undefined => {
  const { cause } = reason as { readonly cause?: { readonly errno?: number | undefined } | undefined }
  return cause?.errno === undefined ? undefined : cause.errno & 0xff
}

/** What SQLite says of a failure; `undefined` if it says nothing. */
export const messageOf = ({ reason }: SqlError.SqlError): string | undefined =>
  (reason as { readonly message?: string | undefined }).message

const connectionOf = (db: DatabaseSync): SqlConnection.Connection => {
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    const kept = statements.get(sql)
    if (kept !== undefined) return kept
    const statement = db.prepare(sql)
    if (statements.size === maxStatements) statements.clear()
    statements.set(sql, statement)
    return statement
  }
  const run = (sql: string, params: ReadonlyArray<unknown>, isArrays = false) =>
    Effect.try({
      try: () => {
        const statement = prepare(sql)
        statement.setReturnArrays(isArrays)
        return statement.all(...(params as ReadonlyArray<SQLInputValue>)) as ReadonlyArray<object>
      },
      catch: (cause) => failed(sql, cause)
    })
  const execute: SqlConnection.Connection["execute"] = (sql, params, transform) =>
    transform === undefined ? run(sql, params) : Effect.map(run(sql, params), transform)
  const executeValues: SqlConnection.Connection["executeValues"] = (sql, params) =>
    run(sql, params, true) as Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError.SqlError>
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: run,
    executeValues,
    executeValuesUnprepared: executeValues,
    executeStream: (sql, params, transform) => Stream.fromIterableEffect(execute(sql, params, transform))
  }
}

/** A database that is open. */
export interface Database {
  readonly sql: SqlClient.SqlClient
  /**
   * Copies the database as it is now to a file, which must not exist or be empty. Other statements wait for that. The
   * thread does not: the copy is made in parts. Cannot be interrupted.
   */
  readonly copyTo: (file: string) => Effect.Effect<void, SqlError.SqlError>
}

/** Pages that are copied at once. They have 4 KiB. */
const pagesAtOnce = 256

/**
 * Opens a database until the scope closes. Its statements come one after the other, and a transaction keeps others
 * out. Fails with `SqlError` if the file cannot be opened. SQLite looks at the contents with the first statement.
 */
export const open = Effect.fnUntraced(function* ({
  file
}: Options): Effect.fn.Return<Database, SqlError.SqlError, Scope.Scope> {
  const db = yield* Effect.acquireRelease(
    Effect.try({
      try: () => new (loadModule().DatabaseSync)(file),
      catch: (cause) => failed("open", cause)
    }),
    (db) => Effect.sync(() => db.close())
  )
  const semaphore = yield* Semaphore.make(1)
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connectionOf(db)),
    semaphore,
    isTransaction: () => db.isTransaction
  })
  const sql = yield* SqlClient.make({
    ...acquirers,
    compiler: Statement.makeCompilerSqlite(),
    driver: "node:sqlite",
    prepareTransactionControls: true,
    spanAttributes: [["db.system.name", "sqlite"]]
  }).pipe(Effect.provide(Reactivity.layer))
  const copyTo = (to: string) =>
    Effect.tryPromise({
      try: () => loadModule().backup(db, to, { rate: pagesAtOnce }),
      catch: (cause) => failed("backup", cause)
    }).pipe(semaphore.withPermits(1), Effect.uninterruptible)
  return { sql, copyTo: (to) => Effect.asVoid(copyTo(to)) } satisfies Database
})

/** Opens a database until the scope closes, as `open` does. */
export const make = (options: Options): Effect.Effect<SqlClient.SqlClient, SqlError.SqlError, Scope.Scope> =>
  Effect.map(open(options), ({ sql }) => sql)
