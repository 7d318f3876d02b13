/**
 * Implements `piecewise restore`: puts a backup into a state folder that has no session.
 */
import * as FileSystem from "node:fs/promises"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as ServiceFolder from "../../node/ServiceFolder.ts"
import * as SessionBackup from "../../session/provider/node/SessionBackup.ts"
import * as Arguments from "../Arguments.ts"
import * as CommandFailed from "../CommandFailed.ts"
import type { Output } from "../Output.ts"
import * as ServiceLines from "./ServiceLines.ts"

/** What a state folder may have before: the credentials are in no backup, so they may be there already. */
const mayBeThere: ReadonlyArray<string> = [ServiceFolder.names.token, ServiceFolder.names.password]

/** Restores the backup. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const file = Path.resolve(args.operands[0]!)
  const state = Path.resolve(Arguments.get(args, "state") ?? ServiceFolder.defaultFolder())
  const names = yield* Effect.tryPromise({
    try: async () => {
      await FileSystem.mkdir(state, { recursive: true, mode: 0o700 })
      return await FileSystem.readdir(state)
    },
    catch: (cause) => CommandFailed.ofFile(state, cause)
  })
  const other = names.find((name) => !mayBeThere.includes(name))
  if (other !== undefined) {
    const why = `${state} is not empty: it has ${other}; a backup is restored into an empty state folder`
    return yield* new CommandFailed.CommandFailed({ why })
  }
  const { torrents } = yield* Effect.mapError(
    SessionBackup.restore(file, { database: ServiceFolder.sessionIn(state), resume: ServiceFolder.resumeIn(state) }),
    ({ message }) => new CommandFailed.CommandFailed({ why: message })
  )
  if (Arguments.has(args, "json")) return ServiceLines.print(output, { _tag: "Restored", state, torrents })
  output.print([`restored ${torrents} ${torrents === 1 ? "torrent" : "torrents"} to ${state}`])
})
