/**
 * Backups of a session: a copy of its database (`SqliteSessionStore.ts`) with one more table, `resume_files`, that has the
 * files of the resume data. So a backup is one file, and is consistent in itself.
 *
 * Resume data may be older or newer than the files of torrents when it is restored. It says what those looked like, so
 * what has changed is verified again, as after any other change.
 */
import * as NFS from "node:fs"
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as NodeBoundedFile from "../../../storage/provider/node/NodeBoundedFile.ts"
import * as NodeSqlite from "./NodeSqlite.ts"
import * as SessionMigrations from "./SessionMigrations.ts"

/** A backup cannot be made, read or restored. `why` is the end of a sentence. */
export class BackupError extends Data.TaggedError("BackupError")<{ readonly path: string; readonly why: string }> {
  override get message() {
    return `${this.path} cannot be used: ${this.why}`
  }
}

/** What is in a backup. */
export interface Contents {
  readonly torrents: number
  /** The version of its schema. */
  readonly version: number
}

/** The names of resume data (`FileResumeStore.ts`). A backup may be a stranger's: no other name is written to a disk. */
const resumeName = /^[0-9a-f]{40}\.resume$/

/** The most bytes of one file of resume data that are copied. A torrent whose file is longer is verified again. */
const maxResumeBytes = 64 * 1_024 * 1_024

const ownerOnly = 0o600

const codeOf = (cause: unknown): unknown => (cause as { readonly code?: unknown } | undefined)?.code

const sentences: Readonly<Record<string, string>> = {
  EACCES: "permission was denied",
  EDQUOT: "the disk quota is used up",
  EEXIST: "a file is in the way",
  EISDIR: "it is a folder",
  ENOENT: "there is no such file or folder",
  ENOSPC: "the disk is full",
  ENOTDIR: "a part of its path is not a folder",
  EROFS: "the disk is read-only"
}

const call = <A>(path: string, promise: () => Promise<A>): Effect.Effect<A, BackupError> =>
  Effect.tryPromise({
    try: promise,
    catch: (cause) =>
      new BackupError({ path, why: sentences[String(codeOf(cause))] ?? (cause as Error | undefined)?.message ?? "" })
  })

/** What SQLite's result codes (https://sqlite.org/rescode.html) mean for a backup. */
const whyOf = (error: SqlError): string => {
  switch (NodeSqlite.resultCode(error)) {
    case 5: // SQLITE_BUSY
      return "another process uses it"
    case 13: // SQLITE_FULL
      return "the disk is full"
    case 26: // SQLITE_NOTADB
      return "it is no session of piecewise"
    default:
      return NodeSqlite.messageOf(error) ?? error.message
  }
}

const failing = (path: string) =>
  Effect.mapError((error: SqlError | BackupError) =>
    error._tag === "BackupError" ? error : new BackupError({ path, why: whyOf(error) })
  )

/** Flushes a file or a folder. Windows flushes no folder. */
const flush = async (path: string): Promise<void> => {
  const isFolder = (await FileSystem.stat(path)).isDirectory()
  if (isFolder && process.platform === "win32") return
  const file = await FileSystem.open(path, isFolder ? "r" : "r+")
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** The names of the resume data in a folder; none if there is no such folder. */
const resumeNames = async (folder: string): Promise<ReadonlyArray<string>> => {
  const names = await FileSystem.readdir(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return []
    throw error
  })
  return names.filter((name) => resumeName.test(name))
}

/** The bytes of a file of resume data; `undefined` if it has gone meanwhile, or is none. */
const readResume = (path: string): Effect.Effect<Uint8Array | undefined> =>
  Effect.orElseSucceed(
    Effect.tryPromise(() => NodeBoundedFile.read(path, maxResumeBytes)),
    () => undefined
  )

/** Puts the resume data of a folder into a copy of the database of its session. */
const addResume = (file: string, folder: string): Effect.Effect<void, SqlError | BackupError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const sql = yield* NodeSqlite.make({ file })
      // One file, without a log beside it.
      yield* sql`PRAGMA journal_mode = DELETE`
      yield* sql`CREATE TABLE resume_files (name TEXT NOT NULL PRIMARY KEY, content BLOB NOT NULL) STRICT`
      const names = yield* call(folder, () => resumeNames(folder))
      yield* sql.withTransaction(
        Effect.forEach(
          names,
          (name) =>
            Effect.flatMap(readResume(Path.join(folder, name)), (content) =>
              content === undefined
                ? Effect.void
                : Effect.asVoid(sql`INSERT INTO resume_files ${sql.insert({ name, content })}`)
            ),
          { discard: true }
        )
      )
    })
  )

/**
 * Makes a backup in a new file, which only its owner can read: it has what trackers know users by. `copyTo` copies the
 * database of the session to a path, and `resume` is the folder of its resume data. Nothing is left of one that fails.
 */
export const make = <E>(
  file: string,
  resume: string,
  copyTo: (path: string) => Effect.Effect<void, E>
): Effect.Effect<void, E | BackupError> =>
  Effect.gen(function* () {
    yield* call(file, async () => (await FileSystem.open(file, "wx", ownerOnly)).close())
    yield* copyTo(file).pipe(
      Effect.andThen(failing(file)(addResume(file, resume))),
      Effect.andThen(call(file, () => flush(file))),
      Effect.onError(() => remove(file))
    )
  }).pipe(Effect.uninterruptible)

/** Removes a file and the logs of SQLite beside it, if they are there. */
const remove = (file: string): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (const ending of ["", "-journal", "-wal", "-shm"]) {
      await FileSystem.rm(`${file}${ending}`, { force: true }).catch(() => {})
    }
  })

/**
 * Makes a backup of a session that no process uses, from its database and the folder of its resume data. The database
 * stays of the version that it is of.
 */
export const ofFile = (file: string, resume: string, database: string): Effect.Effect<void, BackupError> =>
  Effect.scoped(
    Effect.gen(function* () {
      // SQLite would make one.
      yield* call(database, () => FileSystem.access(database))
      const { copyTo, sql } = yield* failing(database)(NodeSqlite.open({ file: database }))
      yield* failing(database)(
        Effect.gen(function* () {
          yield* sql`PRAGMA locking_mode = EXCLUSIVE`
          yield* check(database, sql)
        })
      )
      yield* make(file, resume, (path) => failing(database)(copyTo(path)))
    })
  )

/** Fails if a database is no session that this version can read. Returns what is in it. */
const check = Effect.fnUntraced(function* (path: string, sql: SqlClient.SqlClient) {
  const { isOurs, version } = yield* SessionMigrations.describe(sql)
  const latest = SessionMigrations.all.length
  if (!isOurs) return yield* new BackupError({ path, why: "it is no session of piecewise" })
  if (version > latest) {
    const why = `it has version ${version}, and this version of piecewise reads up to ${latest}: use a newer one`
    return yield* new BackupError({ path, why })
  }
  const [count] = yield* sql<{ count: number }>`SELECT count(*) AS count FROM torrents`
  return { torrents: count!.count, version } satisfies Contents
})

/** Fails unless a database is a whole and undamaged backup. Returns what is in it. */
const checkBackup = Effect.fnUntraced(function* (path: string, sql: SqlClient.SqlClient) {
  const contents = yield* check(path, sql)
  const refuse = (why: string) => new BackupError({ path, why })
  // No backup has a trigger or a view, which would run when others read or write its tables.
  const kinds = yield* sql<{ name: string; type: string }>`SELECT type, name FROM sqlite_schema`
  const odd = kinds.find(({ type }) => type !== "table" && type !== "index")
  if (odd !== undefined) return yield* refuse(`it has a ${odd.type}`)
  if (!kinds.some(({ name }) => name === "resume_files")) return yield* refuse("it is no backup, or not a whole one")
  const [first] = yield* sql<{ integrity_check: string }>`PRAGMA integrity_check`
  if (first?.integrity_check !== "ok") return yield* refuse(`it is damaged: ${first?.integrity_check}`)
  return contents
})

/** Fails unless a file is a whole and undamaged backup that this version can restore. Returns what is in it. */
export const verify = (file: string): Effect.Effect<Contents, BackupError> =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* call(file, () => FileSystem.access(file))
      return yield* checkBackup(file, yield* NodeSqlite.make({ file }))
    })
  ).pipe(failing(file))

/** Where the database of a session has its application id, and how long what has it is (https://sqlite.org/fileformat2). */
const applicationIdAt = 68

/** Whether a file begins like a session or a backup of one. */
export const isOurs = async (path: string): Promise<boolean> => {
  const file = await FileSystem.open(path, NFS.constants.O_RDONLY | (NFS.constants.O_NONBLOCK ?? 0))
  try {
    const head = Buffer.alloc(applicationIdAt + 4)
    const { bytesRead } = await file.read(head, 0, head.length, 0)
    return bytesRead === head.length && head.readUInt32BE(applicationIdAt) === SessionMigrations.applicationId
  } finally {
    await file.close()
  }
}

/** Where a backup is restored to. Both are made. */
export interface Target {
  readonly database: string
  readonly resume: string
}

/** Writes the resume data of a backup to a folder. */
const writeResume = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, folder: string) {
  const names = yield* sql<{ name: string }>`SELECT name FROM resume_files`
  for (const { name } of names) {
    if (!resumeName.test(name)) continue
    const [row] = yield* sql<{ content: Uint8Array }>`SELECT content FROM resume_files WHERE name = ${name}`
    const path = Path.join(folder, name)
    yield* call(path, () => FileSystem.writeFile(path, row!.content, { flag: "wx", mode: ownerOnly, flush: true }))
  }
  yield* call(folder, () => flush(folder))
})

/**
 * Restores a backup. Neither the database nor the folder of resume data may exist. The database comes to its name last,
 * so a session that is there was restored as a whole. What was written goes again if that fails.
 */
export const restore = (file: string, { database, resume }: Target): Effect.Effect<Contents, BackupError> => {
  const temporary = `${database}.restoring`
  const parent = Path.dirname(database)
  /** What undoes the steps that were made. */
  const undo: Array<Effect.Effect<unknown>> = []
  return Effect.gen(function* () {
    // The backup is not written to.
    yield* call(temporary, () => FileSystem.copyFile(file, temporary, NFS.constants.COPYFILE_EXCL))
    undo.push(remove(temporary))
    yield* call(temporary, () => FileSystem.chmod(temporary, ownerOnly))
    const contents = yield* Effect.scoped(
      Effect.gen(function* () {
        const sql = yield* NodeSqlite.make({ file: temporary })
        const contents = yield* checkBackup(file, sql)
        yield* call(resume, () => FileSystem.mkdir(resume, { mode: 0o700 }))
        undo.push(Effect.promise(() => FileSystem.rm(resume, { recursive: true, force: true }).catch(() => {})))
        yield* writeResume(sql, resume)
        yield* sql`DROP TABLE resume_files`
        yield* sql`VACUUM`
        return contents
      })
    ).pipe(failing(file))
    yield* call(database, async () => {
      await flush(temporary)
      await flush(parent)
      await FileSystem.rename(temporary, database)
      await flush(parent)
    })
    return contents
  }).pipe(
    Effect.onError(() => Effect.all(undo, { discard: true })),
    Effect.uninterruptible
  )
}
