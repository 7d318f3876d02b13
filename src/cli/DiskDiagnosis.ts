/**
 * Whether a file can be written in a folder and flushed, and how fast. The file has lost its name before anything is
 * written to it, so nothing is left whatever ends the process. It is given up if the disk is slow.
 */
import * as Crypto from "node:crypto"
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Monotonic from "../base/Monotonic.ts"
import type { Finding } from "./Finding.ts"
import * as Findings from "./Finding.ts"
import * as SystemErrors from "./SystemErrors.ts"
import * as Units from "./Units.ts"

/** An open file. */
export type Handle = Pick<FileSystem.FileHandle, "write" | "sync" | "close">

/** Makes a file that does not exist, and opens it; tests have disks of their own. */
export type Open = (path: string) => Promise<Handle>

/** How much is written to see how fast the disk is, and how much at once. */
const testBytes = 16 * 1_024 * 1_024
const chunkBytes = 1_024 * 1_024

/** How long writing and flushing may take. Both end before the time of a check. */
const writeTime: Duration.Input = "4 seconds"
const flushTime: Duration.Input = "6 seconds"

/** A disk that takes longer to confirm 16 MiB holds up downloads. */
const slowFlushMillis = 2_000

const call = <A>(promise: () => Promise<A>) => Effect.tryPromise({ try: promise, catch: SystemErrors.why })

const openNew: Open = (path) => FileSystem.open(path, "wx")

/** Checks the folder, or its nearest ancestor that exists. Finds `disk` and `flush`. */
export const run = (directory: string, open: Open = openNew): Effect.Effect<ReadonlyArray<Finding>> =>
  probe(directory, open).pipe(
    Effect.match({
      onFailure: (why) => [
        Findings.fails("disk", `${directory}: ${why}`, "choose another folder with --output"),
        Findings.unknown("flush", "nothing could be written")
      ],
      onSuccess: ({ flushMillis, folder, freeBytes, writeMillis, writtenBytes }) => {
        const rate = Units.bytes((writtenBytes / Math.max(writeMillis, 1)) * 1_000)
        return [
          Findings.works("disk", `${folder} can be written, ${rate}/s, ${Units.bytes(freeBytes)} are free`),
          flush(writtenBytes, flushMillis)
        ]
      }
    })
  )

const flush = (bytes: number, millis: number | undefined): Finding => {
  const advice = "downloads may be faster on another disk"
  if (millis === undefined) {
    const seconds = Duration.toSeconds(flushTime)
    return Findings.unknown("flush", `the disk did not confirm ${Units.bytes(bytes)} in ${seconds} seconds`, advice)
  }
  const what = `the disk confirms ${Units.bytes(bytes)} in ${Math.ceil(millis)} ms`
  return Findings.works("flush", what, millis > slowFlushMillis ? advice : undefined)
}

const probe = Effect.fnUntraced(function* (directory: string, open: Open) {
  const folder = yield* call(() => nearest(Path.resolve(directory)))
  const { bavail, bsize } = yield* call(() => FileSystem.statfs(folder))
  const handle = yield* nameless(folder, open)
  const began = yield* Monotonic.now
  const deadline = began + Duration.toMillis(writeTime)
  const chunk = new Uint8Array(chunkBytes)
  let writtenBytes = 0
  while (writtenBytes < testBytes && (yield* Monotonic.now) < deadline) {
    writtenBytes += (yield* call(() => handle.write(chunk))).bytesWritten
  }
  const written = yield* Monotonic.now
  const flushed = yield* Effect.timeoutOption(
    Effect.andThen(
      call(() => handle.sync()),
      Monotonic.now
    ),
    flushTime
  )
  return {
    folder,
    freeBytes: bavail * bsize,
    writtenBytes,
    writeMillis: written - began,
    flushMillis: Option.getOrUndefined(Option.map(flushed, (at) => at - written))
  }
}, Effect.scoped)

/** A new file without a name. Its bytes are gone when it is closed, or with the process. */
const nameless = (folder: string, open: Open) => {
  const path = Path.join(folder, `.piecewise-doctor-${Crypto.randomBytes(8).toString("hex")}`)
  return Effect.acquireRelease(
    call(async () => {
      const handle = await open(path)
      try {
        await FileSystem.unlink(path)
        return handle
      } catch (cause) {
        await handle.close()
        // Systems on which an open file keeps its name.
        await FileSystem.rm(path, { force: true })
        throw cause
      }
    }),
    // Not waited for: it comes after a flush that is under way, which may take minutes.
    (handle) => Effect.sync(() => void handle.close().catch(() => {}))
  )
}

/** The folder, or its nearest ancestor that exists. */
const nearest = async (folder: string): Promise<string> => {
  try {
    await FileSystem.stat(folder)
    return folder
  } catch (cause) {
    if (SystemErrors.codeOf(cause) !== "ENOENT" || folder === Path.dirname(folder)) throw cause
    return nearest(Path.dirname(folder))
  }
}
