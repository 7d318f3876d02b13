/**
 * `piecewise serve` as a process that is killed.
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as FileSystem from "node:fs"
import * as Path from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as ControlClient from "../../../src/control/ControlClient.ts"
import * as SessionMigrations from "../../../src/session/provider/node/SessionMigrations.ts"
import { main } from "../program.ts"

/** A running service. */
export interface Service {
  readonly child: ChildProcess
  /** Its URL, when it is ready; `undefined` if it ended before. */
  readonly ready: Promise<string | undefined>
  readonly ended: Promise<void>
  /** What it has written to standard error. */
  readonly log: () => string
}

/** Starts a service on the download folder and the state folder in `folder`. */
export const start = (folder: string): Service => {
  const args = ["serve", "downloads", "--state", "state", "--http", "127.0.0.1:0", "--no-dht", "--log-level", "debug"]
  const child = spawn(process.execPath, [main, ...args], {
    cwd: folder,
    env: { ...process.env, PIECEWISE_BIND: "127.0.0.1" },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let log = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text
  })
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
  const ready = new Promise<string | undefined>((resolve) => {
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      const url = /The service is at (\S+);/.exec(output)?.[1]
      if (url !== undefined) resolve(url)
    })
    void ended.then(() => resolve(undefined))
  })
  return { child, ready, ended, log: () => log }
}

/** The client of a service. */
export const client = (folder: string, url: string) =>
  ControlClient.make({ url, token: FileSystem.readFileSync(Path.join(folder, "state", "token"), "utf8").trim() }).pipe(
    Effect.provide(FetchHttpClient.layer)
  )

/** The client of a service. */
export type Client = Effect.Success<ReturnType<typeof client>>

/** Statements that undo a change of the schema, by the version that it made. */
const undoing: Readonly<Record<number, ReadonlyArray<string>>> = {
  3: ["ALTER TABLE torrents DROP COLUMN is_completion_due", "ALTER TABLE torrents DROP COLUMN hinted_bytes"],
  2: [
    "ALTER TABLE torrents DROP COLUMN tracker_hosts",
    "DROP TABLE tracker_goals",
    "UPDATE settings SET name = 'queue limits' WHERE name = 'limits'"
  ]
}

/** Makes the database of a service that does not run look as an earlier version has left it. */
export const downgrade = (folder: string, version: number): void => {
  const database = new DatabaseSync(Path.join(folder, "state", "session.db"))
  try {
    for (let from = SessionMigrations.all.length; from > version; from--) {
      const statements = undoing[from]
      if (statements === undefined) throw new Error(`nothing here undoes the change to schema ${from}`)
      for (const statement of statements) database.exec(statement)
    }
    database.exec(`PRAGMA user_version = ${version}`)
  } finally {
    database.close()
  }
}

/** Calls `use` once when the database of a service is written to. Returns what ends that. */
export const onDatabaseWrite = (folder: string, use: () => void): (() => void) => {
  const watcher = FileSystem.watch(Path.join(folder, "state"), (_, name) => {
    if (name?.startsWith("session.db") !== true) return
    watcher.close()
    use()
  })
  return () => watcher.close()
}
