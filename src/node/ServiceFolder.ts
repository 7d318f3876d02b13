/**
 * The folder in which a service keeps its state, and in which the command line finds a service that runs.
 *
 * A running service announces itself in `service.json`: `{ "url": "http://127.0.0.1:6880/", "pid": 123 }`. Its token is
 * in `token`, which `control/security/` writes for its owner only. The file of a service that was killed stays, so a
 * reader asks whether the process is there before it trusts the address: another user's program may have its port.
 */
import * as FileSystem from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as NodeBoundedFile from "../storage/provider/node/NodeBoundedFile.ts"
import * as NodeWholeFile from "../storage/provider/node/NodeWholeFile.ts"

/** The names of files in the folder. */
export const names = {
  service: "service.json",
  token: "token",
  password: "password",
  session: "session.db",
  resume: "resume"
} as const

/** The most bytes of a file that are read. Each takes less than a hundred. */
const maxBytes = 16_384

/** A file of the folder cannot be read or written. */
export class ServiceFolderError extends Data.TaggedError("ServiceFolderError")<{
  readonly path: string
  readonly cause: unknown
}> {
  override get message() {
    return `${this.path} cannot be used: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

/**
 * The folder for what programs of this user remember from one run to the next: `piecewise` in `$XDG_STATE_HOME` (XDG
 * Base Directory Specification), by default `~/.local/state/piecewise`. A relative path in the variable is invalid, and
 * ignored.
 */
export const defaultFolder = (): string => {
  const { XDG_STATE_HOME: folder = "" } = process.env
  return Path.join(Path.isAbsolute(folder) ? folder : Path.join(Os.homedir(), ".local", "state"), "piecewise")
}

/** The schema of how a service announces itself. */
export const Announced = Schema.Struct({
  /** Where it answers, with the base path and a slash at the end. */
  url: Schema.String,
  /** The id of its process. */
  pid: Schema.Int.check(Schema.isGreaterThan(0))
})

/** How a service announces itself. */
export type Announced = typeof Announced.Type

const text = Schema.fromJsonString(Announced)
const decode = Schema.decodeUnknownOption(text)
const encode = Schema.encodeSync(text)

const codeOf = (cause: unknown): unknown => (cause instanceof Error && "code" in cause ? cause.code : undefined)

/** Reads a file of the folder; `undefined` if there is none. */
const read = (path: string): Effect.Effect<string | undefined, ServiceFolderError> =>
  Effect.tryPromise({
    try: async () => new TextDecoder().decode(await NodeBoundedFile.read(path, maxBytes)),
    catch: (cause) => new ServiceFolderError({ path, cause })
  }).pipe(
    Effect.catchIf(
      ({ cause }) => codeOf(cause) === "ENOENT",
      () => Effect.undefined
    )
  )

/** Whether a process is there, also if it belongs to another user. */
const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return codeOf(cause) === "EPERM"
  }
}

/**
 * Finds the service that runs; `undefined` if there is none. A file that is no announcement counts as none. So does the
 * file of a service in a container whose processes are not seen from here.
 */
export const find = (folder: string): Effect.Effect<Announced | undefined, ServiceFolderError> =>
  Effect.map(read(Path.join(folder, names.service)), (found) => {
    const service = found === undefined ? undefined : Option.getOrUndefined(decode(found))
    return service !== undefined && isRunning(service.pid) ? service : undefined
  })

/** The path of the database of the session. */
export const sessionIn = (folder: string): string => Path.join(folder, names.session)

/** The folder of the resume data. */
export const resumeIn = (folder: string): string => Path.join(folder, names.resume)

/** The path of the token of the service. */
export const tokenIn = (folder: string): string => Path.join(folder, names.token)

/** Reads the token of the service; `undefined` if there is none. */
export const readToken = (folder: string): Effect.Effect<Redacted.Redacted<string> | undefined, ServiceFolderError> =>
  Effect.map(read(tokenIn(folder)), (found) => {
    const token = found?.trim() ?? ""
    return token === "" ? undefined : Redacted.make(token)
  })

/** Announces the service of this process until the scope closes. The folder must exist, and no other service use it. */
export const announce = (folder: string, url: string): Effect.Effect<void, ServiceFolderError, Scope.Scope> => {
  const path = Path.join(folder, names.service)
  return Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        await NodeWholeFile.removeLeftovers(path)
        await NodeWholeFile.replace(path, `${encode({ url, pid: process.pid })}\n`)
      },
      catch: (cause) => new ServiceFolderError({ path, cause })
    }),
    () => Effect.promise(() => FileSystem.rm(path, { force: true }).catch(() => {}))
  )
}
