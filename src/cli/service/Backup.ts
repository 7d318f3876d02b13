/**
 * Implements `piecewise backup`: through the service that runs, or from its state folder if none does.
 *
 * The backup comes to its name when it is whole and flushed. Before, its bytes are in a file beside it, whose name ends
 * with `.part`.
 */
import * as Crypto from "node:crypto"
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as ServiceFolder from "../../node/ServiceFolder.ts"
import * as SessionBackup from "../../session/provider/node/SessionBackup.ts"
import * as Arguments from "../Arguments.ts"
import * as CommandFailed from "../CommandFailed.ts"
import type { Output } from "../Output.ts"
import * as Units from "../Units.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"

const call = <A>(path: string, promise: () => Promise<A>) =>
  Effect.tryPromise({ try: promise, catch: (cause) => CommandFailed.ofFile(path, cause) })

const failed = ({ message }: { readonly message: string }) => new CommandFailed.CommandFailed({ why: message })

/** Fails if there is something at the path that is no backup. An earlier backup is replaced. */
const checkTarget = Effect.fnUntraced(function* (file: string) {
  const found = yield* call(file, () =>
    FileSystem.lstat(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined
      throw error
    })
  )
  if (found === undefined || (found.isFile() && (yield* call(file, () => SessionBackup.isOurs(file))))) return
  return yield* new CommandFailed.CommandFailed({ why: `${file} exists, and is no backup: nothing was written` })
})

/** Writes what a service sends to a new file, and flushes it. */
const receive = <E, R>(stream: Stream.Stream<Uint8Array, E, R>, file: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* Effect.acquireRelease(
        call(file, () => FileSystem.open(file, "wx", 0o600)),
        (handle) => Effect.promise(() => handle.close().catch(() => {}))
      )
      yield* Stream.runForEach(stream, (bytes) => call(file, () => handle.writeFile(bytes)))
      yield* call(file, () => handle.sync())
    })
  )

/** Whether the service is to be asked: one is named, or runs. */
const hasService = (args: Arguments.Arguments, state: string) => {
  if (Arguments.has(args, "service") || process.env[ServiceConnection.variables.url]) return Effect.succeed(true)
  return Effect.mapBoth(ServiceFolder.find(state), { onFailure: failed, onSuccess: (found) => found !== undefined })
}

const flushFolder = async (path: string): Promise<void> => {
  if (process.platform === "win32") return
  const handle = await FileSystem.open(path, "r")
  await handle.sync().finally(() => handle.close())
}

/** Makes the backup in the file. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const file = Path.resolve(args.operands[0]!)
  const state = Arguments.get(args, "state") ?? ServiceFolder.defaultFolder()
  yield* checkTarget(file)
  const temporary = `${file}.${Crypto.randomBytes(4).toString("hex")}.part`
  const write = (yield* hasService(args, state))
    ? ServiceConnection.use(args, (client) =>
        Effect.flatMap(client.service.backup(), (stream) => receive(stream, temporary))
      )
    : Effect.mapError(
        SessionBackup.ofFile(temporary, ServiceFolder.resumeIn(state), ServiceFolder.sessionIn(state)),
        failed
      )
  const { torrents } = yield* write.pipe(
    // What a broken connection has cut is no backup.
    Effect.andThen(Effect.mapError(SessionBackup.verify(temporary), failed)),
    Effect.tap(() =>
      call(file, async () => {
        await FileSystem.rename(temporary, file)
        await flushFolder(Path.dirname(file))
      })
    ),
    Effect.ensuring(Effect.promise(() => FileSystem.rm(temporary, { force: true }).catch(() => {})))
  )
  const { size } = yield* call(file, () => FileSystem.stat(file))
  if (Arguments.has(args, "json")) return ServiceLines.print(output, { _tag: "BackedUp", file, bytes: size, torrents })
  output.print([`backed up ${torrents} ${torrents === 1 ? "torrent" : "torrents"} to ${file} (${Units.bytes(size)})`])
})
