/**
 * What locks ask of the system: some calls on files, and sockets that are found by their place in a folder.
 *
 * The path of a socket has about a hundred bytes at most. A longer one is reached through the descriptor of its folder,
 * which is open during one call; only Linux offers that.
 */
import * as Crypto from "node:crypto"
import * as NFS from "node:fs"
import * as Net from "node:net"
import * as OS from "node:os"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import type { SystemError } from "../FileSystemError.ts"
import * as NodeFile from "../NodeFile.ts"
import * as LockNames from "./LockNames.ts"

/** A socket that this process listens on. The only descriptor that locks keep. */
export interface Listening {
  /** Stops listening. Leaves the socket's names. */
  readonly close: Effect.Effect<void>
}

/** The calls; tests replace them. All fail with the system's error. */
export interface LockSystem {
  /** Makes a folder and its parents. */
  readonly mkdirs: (path: string) => Effect.Effect<void, SystemError>
  readonly rmdir: (path: string) => Effect.Effect<void, SystemError>
  readonly list: (path: string) => Effect.Effect<ReadonlyArray<string>, SystemError>
  readonly realpath: (path: string) => Effect.Effect<string, SystemError>
  /** Makes a file that does not exist. A disk too full for the text still makes the file. */
  readonly create: (path: string, text: string) => Effect.Effect<void, SystemError>
  /** The beginning of a regular file. */
  readonly read: (path: string) => Effect.Effect<string, SystemError>
  readonly unlink: (path: string) => Effect.Effect<void, SystemError>
  readonly link: (from: string, to: string) => Effect.Effect<void, SystemError>
  readonly rename: (from: string, to: string) => Effect.Effect<void, SystemError>
  /** Makes a socket in a folder, to which every user may connect, and listens on it. */
  readonly listen: (folder: string, name: string) => Effect.Effect<Listening, SystemError>
  /** Whether a process listens on the socket of this name. */
  readonly answers: (folder: string, name: string) => Effect.Effect<boolean, SystemError>
  readonly marks: Effect.Effect<LockNames.Marks>
  readonly newId: (marks: LockNames.Marks) => string
  /** What this process says about itself, for people. */
  readonly self: string
}

/** `sun_path` without its last byte: 108 bytes on Linux, 104 on macOS and the BSDs. */
const maxSocketPath = process.platform === "linux" ? 107 : 103

/** Bytes that are read of what a holder says about itself. */
const maxTextBytes = 512

/**
 * Errors of a file system, or of its permissions, that make locks impossible. Others may pass, or make writing fail
 * too.
 */
export const impossible: ReadonlySet<string | undefined> = new Set([
  "EACCES",
  "EAFNOSUPPORT",
  "EINVAL",
  "ENAMETOOLONG",
  "ENOSYS",
  "ENOTSUP",
  "EOPNOTSUPP",
  "EPERM",
  "EPROTONOSUPPORT",
  "EROFS"
])

/** No locks to see: the folder is missing, or cannot be read. */
export const unseen: ReadonlySet<string | undefined> = new Set(["ENOENT", "ENOTDIR", "EACCES", "EPERM", "ELOOP"])

/** No process listens: the socket has no owner any more, or no name. */
const silent: ReadonlySet<string | undefined> = new Set(["ECONNREFUSED", "ENOENT"])
/** A process listens that is busy, or that we may not connect to. */
const reserved: ReadonlySet<string | undefined> = new Set(["EAGAIN", "EACCES", "EPERM"])

const { call } = NodeFile

/** The hexadecimal SHA-256 of a text in UTF-8. */
export const sha256 = (text: string): string => Crypto.createHash("sha256").update(text).digest("hex")

const stat = (path: string) => call<NFS.Stats>((done) => NFS.stat(path, done))

const withDescriptor = <A>(path: string, flags: number, use: (fd: number) => Effect.Effect<A, SystemError>) =>
  Effect.acquireUseRelease(
    call<number>((done) => NFS.open(path, flags, done)),
    use,
    (fd) => call((done) => NFS.close(fd, done))
  )

/** Uses a path of the socket that is short enough. */
const withSocketPath = <A>(
  folder: string,
  name: string,
  use: (path: string) => Effect.Effect<A, SystemError>
): Effect.Effect<A, SystemError> => {
  const path = Path.join(folder, name)
  if (Buffer.byteLength(path) <= maxSocketPath) return use(path)
  const tooLong: SystemError = { code: "ENAMETOOLONG", message: `ENAMETOOLONG: no socket has this path, ${path}` }
  if (process.platform !== "linux") return Effect.fail(tooLong)
  return withDescriptor(folder, NFS.constants.O_RDONLY | NFS.constants.O_DIRECTORY, (fd) => {
    const place = `/proc/self/fd/${fd}`
    // Without /proc every socket would look as if it were gone.
    return Effect.andThen(
      Effect.mapError(stat(place), () => tooLong),
      use(`${place}/${name}`)
    )
  })
}

const bind = (path: string): Effect.Effect<Listening, SystemError> =>
  Effect.callback((resume) => {
    const server = Net.createServer((socket) => {
      socket.on("error", () => {})
      socket.destroy()
    })
    // Later errors are of accepting; a process that asks has had its answer from the kernel by then.
    server.on("error", (error: SystemError) => resume(Effect.fail(error)))
    const close = Effect.sync(() => void server.close())
    server.listen({ path, exclusive: true }, () => resume(Effect.succeed({ close })))
    server.unref()
  })

const listen: LockSystem["listen"] = (folder, name) =>
  withSocketPath(folder, name, bind).pipe(
    Effect.catchIf(
      (error) => error.code === "EACCES",
      // libuv reports this as well if the folder does not exist.
      (error) => Effect.andThen(stat(folder), Effect.fail(error))
    ),
    Effect.tap(({ close }) =>
      Effect.onError(
        call((done) => NFS.chmod(Path.join(folder, name), 0o777, done)),
        () => close
      )
    )
  )

const connect = (path: string): Effect.Effect<boolean, SystemError> =>
  Effect.callback((resume) => {
    const socket = Net.connect({ path })
    socket.on("connect", () => {
      socket.destroy()
      resume(Effect.succeed(true))
    })
    socket.on("error", (error: SystemError) => {
      if (silent.has(error.code)) resume(Effect.succeed(false))
      else resume(reserved.has(error.code) ? Effect.succeed(true) : Effect.fail(error))
    })
  })

const create: LockSystem["create"] = (path, text) =>
  withDescriptor(path, NFS.constants.O_WRONLY | NFS.constants.O_CREAT | NFS.constants.O_EXCL, (fd) => {
    const bytes = Buffer.from(text).subarray(0, maxTextBytes)
    const part = { bytes, begin: 0, length: bytes.length, position: 0 }
    // The entry is the lock; its text is only a help.
    return Effect.ignore(NodeFile.write(NodeFile.nodeFileSystem, fd, part))
  })

// Neither waits for the other end of a FIFO nor follows a link.
const readFlags = NFS.constants.O_RDONLY | (NFS.constants.O_NONBLOCK ?? 0) | (NFS.constants.O_NOFOLLOW ?? 0)

const read: LockSystem["read"] = (path) =>
  withDescriptor(path, readFlags, (fd) =>
    Effect.flatMap(
      call<NFS.Stats>((done) => NFS.fstat(fd, done)),
      (found) => {
        if (!found.isFile()) return Effect.fail({ code: "EINVAL", message: `${path} is no regular file` })
        const bytes = Buffer.alloc(maxTextBytes)
        const part = { bytes, begin: 0, length: maxTextBytes, position: 0 }
        return Effect.map(NodeFile.read(NodeFile.nodeFileSystem, fd, part), (length) =>
          bytes.toString("utf8", 0, length)
        )
      }
    )
  )

const textOf = (path: string) =>
  call<string>((done) => NFS.readFile(path, "utf8", done)).pipe(
    Effect.map((text) => text.trim()),
    Effect.orElseSucceed(() => "")
  )

const marks = Effect.gen(function* () {
  const machine = yield* textOf("/etc/machine-id")
  const boot = yield* textOf("/proc/sys/kernel/random/boot_id")
  // A container often has no id, but a name that stays while it is started again.
  return LockNames.marksOf(machine || OS.hostname(), boot, sha256)
})

/** The real calls. */
export const nodeLockSystem: LockSystem = {
  mkdirs: (path) => Effect.asVoid(call<string | undefined>((done) => NodeFile.nodeFileSystem.mkdirs(path, done))),
  rmdir: (path) => call((done) => NFS.rmdir(path, done)),
  list: (path) => call<Array<string>>((done) => NFS.readdir(path, done)),
  realpath: (path) => call<string>((done) => NFS.realpath.native(path, done)),
  create,
  read,
  unlink: (path) => call((done) => NFS.unlink(path, done)),
  link: (from, to) => call((done) => NFS.link(from, to, done)),
  rename: (from, to) => call((done) => NFS.rename(from, to, done)),
  listen,
  answers: (folder, name) => withSocketPath(folder, name, connect),
  marks,
  newId: (own) => LockNames.idOf(own, Crypto.randomBytes(8).toString("hex")),
  self: `process ${process.pid} on ${OS.hostname()}`
}
